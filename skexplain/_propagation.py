"""Backward rules on operations, the same for every framework: DeepLIFT's multipliers and layer-wise relevance.

A framework records what a network computes as a `Tape`. The rules walk it backwards; they see arrays only through
arithmetic and the few functions of an `ArrayNamespace`, so tensors of a graph that runs later will do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .exceptions import UnsupportedLayerError

Array = Any

#: What an operation is to the rules, as a function of those of its inputs that depend on the network's input.
#: "shape": moves numbers; "linear": sums them with constant weights, maybe plus a constant; "elementwise": a
#: function of one number; "step": one whose slope is 0 or infinite; "lookup": rows of a table at whole numbers;
#: "product": linear in each of two inputs; "softmax": over the last axis, or another smooth function of all of it;
#: "maximum": over the last axis.
Kind = Literal["shape", "linear", "elementwise", "step", "lookup", "product", "softmax", "maximum"]

#: Functions that are straight on either side of 0, of whose differences no digits are lost.
HALF_LINES = {"relu", "leaky_relu", "leakyrelu"}
#: Nodes of the Gauss-Legendre rule for softmax.
SOFTMAX_NODES = 24
#: Difference of two logits from which on the smaller one does not count.
OUT_OF_SIGHT = 100.0


class ArrayNamespace(Protocol):
    """What arithmetic does not offer, under the names that NumPy has for it.

    ``eps`` is the relative rounding error of the numbers computed in.
    """

    @property
    def eps(self) -> float: ...
    def where(self, condition: Array, a: Array, b: Array) -> Array: ...
    def unless(self, condition: Array, value: Array, otherwise: Callable[[Callable[[Array], Array]], Array]) -> Array:
        """``value`` where the condition holds, else ``otherwise(take)``, ``take(v)`` being what is needed of v."""

    def zeros_like(self, a: Array) -> Array: ...
    def ones_like(self, a: Array) -> Array: ...
    def sum(self, a: Array, axis: int) -> Array: ...  # the axis is kept
    def max(self, a: Array, axis: int) -> Array: ...  # the axis is kept
    def last_to_front(self, a: Array) -> Array: ...  # the last axis, in memory too
    def stack_last(self, arrays: Sequence[Array]) -> Array: ...
    def cast(self, a: Array, like: Array) -> Array: ...  # to the number type of ``like``


@dataclass(frozen=True, eq=False)
class Weights:
    """A linear operation's weights, for rules that treat them one by one.

    Attributes
    ----------
    kind : {"dense", "convolution"}
    weight : array
    bias : array or None
        Broadcasts with the output.
    apply : callable
        ``apply(x, weight)``: the operation with other weights and no bias.
    transpose : callable
        ``transpose(g, weight, like)``: its transpose, of the shape of ``like``.
    scaled : callable
        ``scaled(weight, s)``: weights whose outputs are multiplied by s, which broadcasts with the output; None if
        s is not one number for each output channel.
    """

    kind: Literal["dense", "convolution"]
    weight: Array
    bias: Array | None
    apply: Callable[[Array, Array], Array]
    transpose: Callable[[Array, Array, Array], Array]
    scaled: Callable[[Array, Array], Array | None]


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of a forward run.

    Attributes
    ----------
    name : str
        As its framework calls it.
    kind : Kind
    inputs : tuple of int
        Positions of the tape's values that the operation reads and that depend on the network's input.
    output : int
        Position of its result.
    vjp : callable
        ``vjp(values, g)``: for each input the derivative at ``values``, transposed, times g. Of a "step" the slope is
        taken to be 1, of a "lookup" each number of a row.
    pointwise : bool
        Whether each number of the result depends on the number of each input in the same place only.
    gate : bool
        Whether it makes weights for what it is multiplied with, such as a sigmoid or the 1 / deviation of a
        normalisation.
    affine : tuple of (scale, shift) or None
        Of a pointwise function ``scale * x + shift`` of one input, both constant.
    condition : int or None
        Which of the inputs of a "product" selects between the others, ``c a + (1 - c) b``.
    constants : int
        How many arrays an elementwise function has besides its inputs.
    unread : bool
        Whether there are weights that cannot be read as `weights`.
    weights : Weights or None
        Of linear operations of one input.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    output: int
    vjp: Callable[[Sequence[Array], Array], Sequence[Array]]
    pointwise: bool = False
    gate: bool = False
    affine: tuple[Array, Array] | None = None
    condition: int | None = None
    constants: int = 0
    unread: bool = False
    weights: Weights | None = None


@dataclass(eq=False)
class Tape:
    """A forward run: its values, the first of which is the input, and its steps in order."""

    values: list[Array]
    steps: list[Step] = field(default_factory=list)
    output: int = 0

    def of(self, step: Step) -> list[Array]:
        """Values of a step's inputs."""
        return [self.values[i] for i in step.inputs]


class Rule(Protocol):
    """How to go back from the output to the input."""

    @property
    def strategy(self) -> str:
        """Named in errors."""

    def others(self, X: NDArray, reference: NDArray) -> list[NDArray]:
        """Rows, as many as X has, whose runs the rule compares with the run of X."""

    def backward(self, tapes: Sequence[Tape], slope: Array, xp: ArrayNamespace) -> Array:
        """Attributions of the rows of the first tape, whose outputs are explained with weights ``slope``."""


# ---------------------------------------------------------------------------------------------------- DeepLIFT


@dataclass(frozen=True)
class Rescale:
    """DeepLIFT: every operation's slope is its mean slope on the way from the reference's value to the row's.

    For a function of one number that is ``(f(x) - f(r)) / (x - r)``, the paper's rescale rule; for a product the other
    factor's midpoint; for a maximum the share of the way on which an input is the largest. So the
    attributions add up at every operation. A function of one number is one function, however it is spelled:
    ``x * sigmoid(x)`` is SiLU.

    Parameters
    ----------
    strategy : str
        Named in errors.
    """

    strategy: str = "deeplift"

    def others(self, X: NDArray, reference: NDArray) -> list[NDArray]:
        """The references."""
        return [np.broadcast_to(reference, X.shape)]

    def backward(self, tapes: Sequence[Tape], slope: Array, xp: ArrayNamespace) -> Array:
        """``multiplier * (x - r)``."""
        x, r = tapes
        return self._multiplier(x, r, slope, xp) * (x.values[0] - r.values[0])

    def _multiplier(self, x: Tape, r: Tape, slope: Array, xp: ArrayNamespace) -> Array:
        if [s.name for s in x.steps] != [s.name for s in r.steps]:
            raise UnsupportedLayerError("a branch that depends on the values of the rows", self.strategy)
        roots, m = roots_of(x.steps), {x.output: slope}
        for step in reversed(x.steps):
            g = m.pop(step.output, None)
            if g is None:
                continue
            dy = xp.cast(x.values[step.output], g) - xp.cast(r.values[step.output], g)
            root = roots.get(step.output)
            if step.kind == "product" and root is not None:
                # the factors are functions of one and the same number, and so is their product
                apart, mean_slope = _slope(dy, x.values[root], r.values[root], xp)
                _add(m, root, xp.where(apart, g * mean_slope, xp.zeros_like(g)))
                g = xp.where(apart, xp.zeros_like(g), g)
            for i, v in zip(step.inputs, _multiplied(step, x.of(step), r.of(step), dy, g, xp), strict=True):
                _add(m, i, v)
        return m[0] if 0 in m else xp.zeros_like(x.values[0])


@dataclass(frozen=True)
class Multipliers(Rescale):
    """What `Rescale` multiplies ``x - r`` by, for networks that are only a part of what is explained."""

    def backward(self, tapes: Sequence[Tape], slope: Array, xp: ArrayNamespace) -> Array:
        """The mean slope of the output on the way from r to x, for each number of the input."""
        x, r = tapes
        return self._multiplier(x, r, slope, xp)


def _add(total: dict[int, Array], i: int, value: Array) -> None:
    total[i] = total[i] + value if i in total else value


def roots_of(steps: Sequence[Step]) -> dict[int, int]:
    """For each value that is a function, number by number, of one earlier value: the earliest such."""
    roots: dict[int, int] = {}
    for step in steps:
        if step.pointwise:
            sources = {roots.get(i, i) for i in step.inputs}
            if len(sources) == 1:
                roots[step.output] = sources.pop()
    return roots


def _slope(dy: Array, p: Array, q: Array, xp: ArrayNamespace) -> tuple[Array, Array]:
    """Where p and q are far enough apart to divide by p - q, and ``dy / (p - q)``, which counts there only."""
    p, q = xp.cast(p, dy), xp.cast(q, dy)
    return far_apart(p, q, xp.eps), dy / (p - q)


def far_apart(p: Array, q: Array, eps: float) -> Array:
    """Whether a slope may be had by dividing by ``p - q``.

    Half of the digits may be lost in the difference, not more: where it is smaller, the derivative takes over, whose
    error is as small. Around 0, where most kinks are, p and q of different signs are always far apart.
    """
    near = 0.1 * eps**0.5
    return abs(p - q) > near * abs(p) + near * abs(q)


def _multiplied(
    step: Step, a: Sequence[Array], b: Sequence[Array], dy: Array, g: Array, xp: ArrayNamespace
) -> Sequence[Array]:
    """For each input of a step g times its multiplier, transposed; ``a`` and ``b`` are x's and r's inputs."""
    if step.kind in ("shape", "linear"):
        return step.vjp(a, g)
    if step.kind in ("step", "lookup"):
        (p,), (q,) = a, b
        total = step.vjp(a, g * dy)[0]
        difference = xp.cast(p, total) - xp.cast(q, total)
        moved = difference != 0
        return [xp.where(moved, total / xp.where(moved, difference, xp.ones_like(total)), xp.zeros_like(total))]
    if step.kind == "softmax":
        return [_integrated(step, a[0], b[0], dy, g, xp)]
    if step.kind == "maximum":
        return [g[..., None] * _shares_of_the_way(a[0], b[0], xp)]

    def middle() -> list[Array]:
        return [(xp.cast(p, g) + xp.cast(q, g)) / 2 for p, q in zip(a, b, strict=True)]

    if step.kind == "product":
        return step.vjp(middle(), g)
    if step.name.lower().strip("_") in HALF_LINES:
        apart = a[0] != b[0]
        mean_slope = dy / (a[0] - b[0])
    else:
        apart, mean_slope = _slope(dy, a[0], b[0], xp)
    if step.constants:  # which belong to places
        return [xp.where(apart, g * mean_slope, step.vjp(middle(), g)[0])]

    def at_the_point(take: Callable[[Array], Array]) -> Array:
        slope = step.vjp([(take(a[0]) + take(b[0])) / 2], take(g))[0]
        return xp.where(slope * 0 == 0, slope, xp.zeros_like(slope))  # a square root of 0 in row and reference

    return [xp.unless(apart, g * mean_slope, at_the_point)]


def _integrated(step: Step, p: Array, q: Array, dy: Array, g: Array, xp: ArrayNamespace) -> Array:
    """The derivative averaged on the straight line from q to p; what the quadrature misses goes along p - q.

    Competitors far behind, such as those that a mask sends to minus infinity, start from where they begin to count.
    """
    near_p, near_q = _in_sight(p, xp), _in_sight(q, xp)
    none, dx = xp.zeros_like(p), near_p - near_q
    m = none
    for t, w in _softmax_quadrature():
        m = m + float(w) * step.vjp([near_q + float(t) * dx], g)[0]
    whole = xp.where(p == q, none, p - q)
    ratio = xp.where(whole == 0, none, dx / xp.where(whole == 0, xp.ones_like(p), whole))
    ratio = xp.where(p == q, xp.ones_like(p), ratio)
    # log-softmax is the logit itself less the normalisation, and only the latter is short-sighted
    m = g - (g - m) * ratio if step.name.lower().replace("_", "") == "logsoftmax" else m * ratio
    seen = whole * ratio
    length = xp.sum(seen * seen, -1)
    missing = xp.sum(g * dy, -1) - xp.sum(m * whole, -1)
    along = xp.where(length > 0, missing / xp.where(length > 0, length, xp.ones_like(length)), xp.zeros_like(length))
    return m + along * seen * ratio


@cache
def _softmax_quadrature() -> list[tuple[float, float]]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(SOFTMAX_NODES)
    return list(zip((nodes + 1) / 2, weights / 2, strict=True))


def _in_sight(z: Array, xp: ArrayNamespace) -> Array:
    """Logits, those far below the largest moved up to where their share is still 0 to rounding."""
    floor = xp.max(z, -1) - OUT_OF_SIGHT
    return xp.where(z < floor, floor, z)


def _shares_of_the_way(p: Array, q: Array, xp: ArrayNamespace) -> Array:
    """For each of the competitors along the last axis the part of the line from q to p on which it is the largest.

    Each moves linearly, so it leads on an interval, whose ends are crossings with others.
    """
    p, q = xp.last_to_front(p), xp.last_to_front(q)  # where they are many, rows lie side by side
    dx, shares = p - q, []
    for j in range(p.shape[0]):
        ahead, faster = q[j : j + 1] - q, dx[j : j + 1] - dx
        crossing = -ahead / xp.where(faster == 0, xp.ones_like(faster), faster)
        one, none = xp.ones_like(crossing), xp.zeros_like(crossing)
        never = (faster == 0) & (ahead < 0)
        start = xp.max(xp.where(faster > 0, crossing, none), 0)
        stop = -xp.max(-xp.where(faster < 0, crossing, xp.where(never, none, one)), 0)
        start, stop = (xp.where(end < 0, none[:1], xp.where(end > 1, one[:1], end)) for end in (start, stop))
        alike = xp.sum(xp.where((faster == 0) & (ahead == 0), one, none), 0)
        shares.append((xp.where(stop > start, stop - start, none[:1]) / alike)[0])
    return xp.stack_last(shares)


def against_each(tape: Tape, references: Tape) -> tuple[Tape, Tape] | None:
    """Tapes of which each row of the one meets each row of the other, ``(n_references, n, ...)``, or None.

    Where rows go through dense layers and functions of single numbers only, a run of the rows and one of the references
    are enough for all pairs of them.
    """
    for v in (*tape.values, *references.values):
        if len(v.shape) != 2:
            return None
    for step in tape.steps:
        alone = step.weights is not None and step.weights.kind == "dense"
        scaled = step.affine is not None and all(
            len(getattr(c, "shape", ())) <= 1 or c.shape[0] == 1 for c in step.affine
        )
        if not (alone or scaled or (step.kind == "elementwise" and step.constants == 0)):
            return None
    return tape, replace(references, values=[v[:, None] for v in references.values])


# ---------------------------------------------------------------------------------- layer-wise relevance


#: Names of LRP's rules for linear operations.
LRP_RULES = ("epsilon", "gamma", "alpha_beta", "z_plus", "z_box", "w_square", "flat")


@dataclass(frozen=True)
class Relevance:
    """Layer-wise relevance propagation: each operation hands what its outputs got to its inputs.

    Linear operations by the rule of their kind. The others: functions of one number, and moves of numbers, pass
    relevance on unchanged; sums divide it in proportion; of a product, gates and normalisations take none, otherwise
    either factor takes half; a maximum gives it to the winner; softmax by its first-order expansion.

    Parameters
    ----------
    dense, convolution : str
        Rules for these.
    first : str or None
        Rule for those that read the input, if another.
    epsilon, gamma, alpha : float
    low, high : ndarray of the features' shape, or None
        Range of the input, for ``z_box``.
    strategy : str
        Named in errors.
    """

    dense: str = "epsilon"
    convolution: str = "epsilon"
    first: str | None = None
    epsilon: float = 1e-9
    gamma: float = 0.25
    alpha: float = 2.0
    low: NDArray | None = None
    high: NDArray | None = None
    strategy: str = "lrp"

    def others(self, X: NDArray, reference: NDArray) -> list[NDArray]:
        """For ``z_box`` the ends of the range; a row outside stretches its own."""
        if "z_box" not in (self.first, self.dense, self.convolution):
            return []
        assert self.low is not None
        assert self.high is not None
        return [np.minimum(self.low, X).astype(X.dtype), np.maximum(self.high, X).astype(X.dtype)]

    def backward(self, tapes: Sequence[Tape], slope: Array, xp: ArrayNamespace) -> Array:
        """Relevance of the input; that of an output is the output itself times its ``slope``."""
        tape, *ends = tapes
        steps = folded_steps(tape)
        roots, plain, maker = roots_of(steps), _like_the_input(steps), {step.output: step for step in steps}
        R = {tape.output: tape.values[tape.output] * slope}
        for step in reversed(steps):
            r = R.pop(step.output, None)
            if r is None:
                continue
            root = roots.get(step.output)
            if step.weights is not None:
                reads_input = step.inputs[0] in plain
                bounds = [end.values[step.inputs[0]] for end in ends] if reads_input else []
                _add(R, step.inputs[0], self.through_weights(step, tape, r, reads_input, bounds, xp))
            elif step.kind == "product" and root is not None:
                _add(R, root, r)
            else:
                for i, v in zip(step.inputs, self._through(step, tape, maker, r, xp), strict=True):
                    _add(R, i, v)
        return R[0] if 0 in R else xp.zeros_like(tape.values[0])

    def _through(self, step: Step, tape: Tape, maker: dict[int, Step], r: Array, xp: ArrayNamespace) -> Sequence[Array]:
        """Relevance of each input of an operation without weights."""
        a, y = [xp.cast(v, r) for v in tape.of(step)], tape.values[step.output]
        if step.kind == "elementwise" or step.affine is not None or (step.pointwise and len(step.inputs) == 1):
            return [r]
        if step.kind in ("shape", "maximum", "step", "lookup"):
            return step.vjp(a, r)
        if step.kind == "linear":
            if step.unread:
                raise UnsupportedLayerError(f"the weights of the operation {step.name!r}", self.strategy)
            return [v * w for v, w in zip(a, step.vjp(a, r / self._stable(y, xp)), strict=True)]
        if step.condition is not None:  # the branch that is taken takes all
            if len(step.inputs) == 1:
                return [r]
            parts = step.vjp(a, r)
            return [xp.zeros_like(v) if k == step.condition else v for k, v in enumerate(parts)]
        if step.kind == "softmax":
            some = xp.where(y == 0, xp.ones_like(y), y)
            bounded = xp.where(a[0] - a[0] == 0, a[0], xp.zeros_like(r))  # minus infinity where a mask says so
            return [bounded * step.vjp(a, r / some)[0]]
        gates = [_is_gate(maker.get(i), maker) for i in step.inputs]
        if step.pointwise and any(gates) and not all(gates):
            return [xp.zeros_like(r) if gate else r for gate in gates]
        parts = [v * w / 2 for v, w in zip(a, step.vjp(a, r / self._stable(y, xp)), strict=True)]
        takes = [0.0 if gate else 2.0 for gate in gates] if any(gates) and not all(gates) else [1.0] * len(parts)
        return [share * part for share, part in zip(takes, parts, strict=True)]

    def through_weights(
        self, step: Step, tape: Tape, r: Array, reads_input: bool, bounds: Sequence[Array], xp: ArrayNamespace
    ) -> Array:
        """Relevance of the input of a linear operation, by the rule for its kind."""
        assert step.weights is not None
        w, x = step.weights, tape.values[step.inputs[0]]
        rule = self.dense if w.kind == "dense" else self.convolution
        rule = self.first if reads_input and self.first is not None else rule
        W, bias = w.weight, 0.0 if w.bias is None else w.bias

        def back(g: Array, weight: Array) -> Array:
            return w.transpose(g, weight, x)

        if rule in ("w_square", "flat"):
            V = W * W if rule == "w_square" else xp.ones_like(W)
            return back(r / self._stable(w.apply(xp.ones_like(x), V), xp), V)
        up, down = _positive(W, xp), -_positive(-W, xp)
        if rule == "z_box":
            p, q = bounds
            low, high = xp.where(p < q, p, q), xp.where(p < q, q, p)
            z = w.apply(x, W) - w.apply(low, up) - w.apply(high, down)
            s = r / self._stable(z, xp)
            return x * back(s, W) - low * back(s, up) - high * back(s, down)
        z = w.apply(x, W) + bias
        if rule == "epsilon":
            return x * back(r / self._stable(z, xp), W)
        above, below = _positive(x, xp), -_positive(-x, xp)

        def raising(s: Array) -> Array:
            """s, given back by the contributions that are positive."""
            return above * back(s, up) + below * back(s, down)

        def lowering(s: Array) -> Array:
            return above * back(s, down) + below * back(s, up)

        bias = z * 0.0 + bias
        positive = w.apply(above, up) + w.apply(below, down) + _positive(bias, xp)
        negative = w.apply(above, down) + w.apply(below, up) - _positive(-bias, xp)
        if rule == "gamma":
            none = xp.zeros_like(r)
            s = xp.where(z > 0, r, none) / self._stable(z + self.gamma * positive, xp)
            t = xp.where(z < 0, r, none) / self._stable(z + self.gamma * negative, xp)
            return x * back(s + t, W) + self.gamma * (raising(s) + lowering(t))
        alpha = 1.0 if rule == "z_plus" else self.alpha
        got = alpha * raising(r / self._stable(positive, xp))
        if alpha == 1.0:
            return got
        return got - (alpha - 1.0) * lowering(r / self._stable(negative, xp))

    def _stable(self, z: Array, xp: ArrayNamespace) -> Array:
        """z, moved away from 0 by epsilon."""
        one = xp.ones_like(z)
        return z + self.epsilon * xp.where(z < 0, -one, one)


def _positive(v: Array, xp: ArrayNamespace) -> Array:
    return xp.where(v > 0, v, xp.zeros_like(v))


def _is_gate(step: Step | None, maker: dict[int, Step]) -> bool:
    """Whether a value comes from a gate, maybe moved or as ``1 - gate``."""
    while step is not None and not step.gate and len(step.inputs) == 1:
        if step.kind != "shape" and step.affine is None:
            return False
        step = maker.get(step.inputs[0])
    return step is not None and step.gate


def _like_the_input(steps: Sequence[Step]) -> set[int]:
    """Positions of values that are the input's numbers, moved or each scaled and shifted."""
    plain = {0}
    for step in steps:
        if (step.kind == "shape" or step.affine is not None) and all(i in plain for i in step.inputs):
            plain.add(step.output)
    return plain


#: Names, in any framework, of moves that keep all numbers.
MOVES = set("view unsafe_view reshape permute transpose t unsqueeze squeeze expanddims".split())


def folded_steps(tape: Tape) -> list[Step]:
    """Steps with scales and shifts that follow weights made part of them: batch normalisation, a bias added later.

    Rules that look at the sign of a weight need the weight that is in effect. Between the layer and the scale or shift
    numbers may have been moved, as some spellings of a layer do.
    """
    readers = Counter([tape.output, *(i for step in tape.steps for i in step.inputs)])
    made = {step.output: step for step in tape.steps}
    for step in tape.steps:
        if step.affine is None:
            continue
        moves: list[Step] = []
        before = made.get(step.inputs[0])
        while before is not None and readers[before.output] == 1 and _moves(before, tape):
            moves.append(before)
            before = made.get(before.inputs[0])
        if before is None or before.weights is None or readers[before.output] != 1:
            continue
        w, (scale, shift) = before.weights, step.affine
        if moves:
            if math.prod(getattr(scale, "shape", ())) != 1:
                continue
            for move in moves:  # back to where the numbers were
                shift = move.vjp(tape.of(move), tape.values[move.output] * 0 + shift)[0]
        W = w.scaled(w.weight, scale)
        if W is None:
            continue
        layer = replace(before, weights=replace(w, weight=W, bias=shift if w.bias is None else w.bias * scale + shift))
        if moves:
            made[layer.output] = layer
            del made[moves[0].output]
            made[step.output] = replace(moves[0], output=step.output)
        else:
            del made[layer.output]
            made[step.output] = replace(layer, output=step.output)
    return [made[position] for position in sorted(made)]


def _moves(step: Step, tape: Tape) -> bool:
    """Whether a step moves numbers, and leaves out none."""
    name = step.name.lower().strip("_")
    if name in ("select", "slice", "stridedslice"):
        return math.prod(tape.values[step.inputs[0]].shape) == math.prod(tape.values[step.output].shape)
    return name in MOVES
