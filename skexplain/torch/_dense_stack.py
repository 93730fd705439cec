"""Is a module a stack of dense layers? Then these are their weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .._stack import Stack, falls
from ..exceptions import UnsupportedLayerError

# Operations by their names, which functions, methods and operators share: `_name`.
# fmt: off
#: With the weights.
PRODUCTS = {"linear", "matmul", "mm", "addmm", "einsum"}
#: Affine in each number alone, as long as their other arguments are constant.
AFFINE = {
    "add", "radd", "iadd", "sub", "subtract", "rsub", "isub", "mul", "multiply", "rmul", "imul", "div",
    "divide", "true_divide", "truediv", "itruediv", "neg", "negative", "batch_norm",
}
SUMS = {"add", "radd", "iadd", "sub", "subtract", "rsub", "isub"}
#: Leave the numbers as they are, in evaluation.
PASSING = {
    "flatten", "reshape", "view", "squeeze", "unsqueeze", "ravel", "contiguous", "clone", "detach", "data",
    "to", "type", "type_as", "float", "double", "dropout", "dropout1d", "alpha_dropout", "feature_dropout",
    "feature_alpha_dropout", "getitem",
}
#: Fall where their argument rises; other activations do so in a part at most.
RECIPROCALS = {"reciprocal", "rtruediv", "rdiv"}
#: Act on each number alone.
ACTIVATIONS = {
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh",
    "sigmoid", "logsigmoid", "log_sigmoid", "softplus", "softsign", "tanhshrink", "softshrink", "hardshrink",
    "hardtanh", "hardswish", "hardsigmoid", "threshold", "clamp", "clamp_min", "clamp_max", "clip", "maximum",
    "minimum", "abs", "exp", "expm1", "log", "log1p", "sqrt", "square", "pow", "sin", "cos", "erf", "expit",
    "where", "gt", "lt", "ge", "le", "logical_and", "logical_or", "logical_not",
} | RECIPROCALS
#: Take only the shape from their argument.
CONSTANTS = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}
#: Show numbers to Python, where no one sees what is made of them.
READING = {"bool", "item", "tolist", "numpy", "float", "int", "index", "array", "contains", "nonzero"}
# fmt: on


@dataclass(eq=False)
class _Result:
    """A tensor that was computed from the input.

    Attributes
    ----------
    name : str
        Of the operation.
    replay : callable
        The operation as a function of its one argument that depends on the input.
    parents : list of _Result
    tensor : Tensor
        Kept, so that no id is used twice.
    value : Tensor
        What it was, should it be changed in place.
    trail : tuple of _Result
        What all ways from the input come through, itself at the end.
    """

    name: str
    replay: Callable[[Tensor], Any]
    parents: list[_Result]
    tensor: Tensor
    value: Tensor
    version: int
    trail: tuple[_Result, ...]


class _Watch(TorchFunctionMode):
    """Writes down all that is computed from the input."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.results: dict[int, _Result] = {}
        self.hidden: str | None = None
        self._add("input", lambda v: v, [], x)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, _name(func)
        parents = [self.results[id(t)] for t in tree_leaves((args, kwargs)) if id(t) in self.results]
        if any(p.tensor._version != p.version for p in parents):
            self.hidden = "a change in place"
        out = func(*args, **kwargs)
        if not parents or name in CONSTANTS:
            return out
        tensors = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        if name in READING and not tensors:
            self.hidden = f"{name}() of values"
        ids = {id(p.tensor) for p in parents}

        def replay(v: Tensor) -> Any:
            changed = tree_map(lambda t: v if id(t) in ids else t, (args, kwargs))
            return func(*changed[0], **changed[1])

        for t in tensors:
            self._add(name, replay, parents, t)
        return out

    def _add(self, name: str, replay: Callable, parents: list[_Result], t: Tensor) -> None:
        trail: list[_Result] = []
        for step in zip(*(p.trail for p in parents), strict=False):
            if any(s is not step[0] for s in step):
                break
            trail.append(step[0])
        result = _Result(name, replay, parents, t, t.detach().clone(), t._version, ())
        result.trail = (*trail, result)
        self.results[id(t)] = result


def _name(func: Any) -> str:
    """Of an operation: the same for ``torch.add``, ``Tensor.add_`` and ``+``."""
    name = getattr(func, "__name__", type(func).__name__)
    name = getattr(func.__self__, "__name__", name) if name == "__get__" else name
    return name.strip("_")


def dense_stack(raw: Callable[[Tensor], Tensor], X: Tensor, ending: str | None = None) -> list[NDArray]:
    """Weights ``(n_in, n_out)`` between the input and the outputs; see `skexplain._network.Network.dense_weights`.

    The module is observed on a few rows, not parsed, so it does not matter how it is written. Each step between
    the input and the outputs is then repeated alone, with other numbers, to see that it is what it is taken for.

    Parameters
    ----------
    raw : callable
        From rows to outputs, in evaluation mode.
    X : Tensor of shape (n, *features)
    ending : str, optional
        Name of an operation that may stand after the outputs.

    Raises
    ------
    UnsupportedLayerError
        With the name of the operation that does not belong into such a stack.
    """
    with torch.no_grad():
        x = X.clone()
        with _Watch(x) as seen:
            out = raw(x)
    if seen.hidden is not None:
        raise _unsupported(seen.hidden)
    if id(out) not in seen.results:
        raise _unsupported("an operation that is hidden from torch's functions")
    stack, trail = Stack(tuple(X.shape[1:])), seen.results[id(out)].trail
    while trail[-1].name in {"reshape", "view"} and trail[-1].value.shape == trail[-2].value.shape:
        trail = trail[:-1]
    trail = trail[:-1] if trail[-1].name == ending else trail
    for before, after in itertools.pairwise(trail):
        _step(stack, before, after)
    if not (weights := stack.weights()):
        raise _unsupported("a network without dense layers")
    return weights


def _step(stack: Stack, before: _Result, after: _Result) -> None:
    """Add to the stack what makes one result of the other."""
    h, name = before.value, after.name
    if len(after.parents) > 1:
        if not _is_activation(before, after):
            raise _unsupported(f"{name} of several branches")
        stack.bend()
    elif name in PRODUCTS and h.ndim == 2:
        stack.multiply(_jacobian(after, h).T.double().cpu().numpy())
    elif name in AFFINE and after.value.shape == h.shape:
        stack.scale(_slope(after, h).double().cpu().numpy())
    elif name in PASSING and _passes(before, after):
        stack.shape = tuple(after.value.shape[1:])
    elif name in ACTIVATIONS and after.value.shape == h.shape:
        stack.bend(name in RECIPROCALS and falls(h.cpu().numpy(), after.value.cpu().numpy()))
    else:
        rows = f" on rows of shape {tuple(h.shape[1:])}" if name in PRODUCTS | AFFINE | PASSING | ACTIVATIONS else ""
        raise _unsupported(name + rows)


def _is_activation(before: _Result, after: _Result) -> bool:
    """Whether several branches are, together, one function of each number, such as ``h * sigmoid(h)``."""
    bends, left = False, [after]
    while left:
        result = left.pop()
        if result is before:
            continue
        known = result.name in (AFFINE | ACTIVATIONS | {"to", "clone"}) - {"batch_norm"}
        if not known or result.value.shape != before.value.shape:
            return False
        # sums of multiples would be a factor, which must not be lost
        bends |= result.name in ACTIVATIONS or (len(result.parents) > 1 and result.name not in SUMS)
        left += result.parents
    return bends


def _passes(before: _Result, after: _Result) -> bool:
    h, out = before.value, after.value
    if len(out) != len(h) or out.numel() != h.numel():
        return False
    if after.name == "getitem" and not _keeps_order(after):
        return False
    return torch.allclose(out.reshape(len(h), -1).to(h.dtype), h.reshape(len(h), -1), rtol=1e-6, atol=0)


def _keeps_order(after: _Result) -> bool:
    """Whether an index that takes all numbers also takes them in their order; seen on numbers that all differ."""
    h = after.parents[0].value
    ramp = torch.arange(float(h.numel()), device=h.device).reshape(h.shape)
    return bool(torch.equal(after.replay(ramp).reshape(-1), ramp.reshape(-1)))


def _jacobian(after: _Result, h: Tensor) -> Tensor:
    """``(n_out, n_in)`` of an operation that is affine in each row."""
    n_out = after.value[0].numel()
    rows = h[:1].repeat(n_out, 1)
    J = _gradient(after, rows, torch.eye(n_out, dtype=h.dtype, device=h.device))
    other = 0.3 - 2 * h
    _check(after, h, (other - h) @ J.T)
    return J


def _slope(after: _Result, h: Tensor) -> Tensor:
    """Factor of each number, of the shape of a row, by an operation that is affine in each."""
    slope = _gradient(after, h[:1], torch.ones_like(h[:1]))
    other = 0.3 - 2 * h
    _check(after, h, (other - h) * slope)
    return slope[0]


def _gradient(after: _Result, rows: Tensor, of: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = rows.clone().requires_grad_()
        try:
            out = after.replay(leaf * 1)  # not a leaf, which could not be changed in place
            return torch.autograd.grad(out, leaf, of.reshape(out.shape))[0]
        except (RuntimeError, ValueError) as exc:  # rows that are not independent of each other
            raise _unsupported(f"{after.name} that looks at several rows") from exc


def _check(after: _Result, h: Tensor, change: Tensor) -> None:
    """The operation must do to all rows, and to other numbers, what was found for one of them."""
    with torch.no_grad():
        out, moved = after.value, after.replay(0.3 - 2 * h)
    change = change.reshape(out.shape)
    size = out.abs().amax() + moved.abs().amax() + change.abs().amax()
    if not (moved - out - change).abs().amax() <= 1e3 * torch.finfo(out.dtype).eps * size:
        raise _unsupported(f"{after.name} that is not affine in each row")


def _unsupported(layer: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(layer, "A method of weights")
