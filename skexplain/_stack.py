"""The weights of a stack of dense layers, read off a tape, however the stack is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._dense_network import DenseNetwork
from ._head import Head
from ._propagation import Step, Tape, folded_steps, roots_of
from .exceptions import UnsupportedLayerError

#: Operations that give the numbers of a row another shape, if they leave out none.
RESHAPING = set("view unsafe_view reshape unsqueeze squeeze select slice expanddims stridedslice identity".split())
LOG_SOFTMAX = ("_log_softmax", "LogSoftmax")


class Link(NamedTuple):
    """A dense layer and what its outputs go through before the next one.

    Attributes
    ----------
    weight : array of shape (n_in, n_out), or None for the input itself
    scales : list of (array, tuple of int)
        Constant factors, and the shape of a row that they apply to.
    activation : (z, a), arrays of shape (n, *shape), or None
        Numbers in front of an activation and behind it; it stands before the scales.
    """

    weight: Any
    scales: list[tuple[Any, tuple[int, ...]]]
    activation: tuple[Any, Any] | None


def links_of(tape: Tape, softmax: bool, strategy: str) -> list[Link]:
    """The layers from the input, which has a link too, to the output.

    Parameters
    ----------
    tape : Tape
        Of at least two rows.
    softmax : bool
        Whether outputs are known up to a constant a row, so that a final log-softmax is as good as none.
    strategy : str
        Named in errors.

    Raises
    ------
    UnsupportedLayerError
        With the operation that does not belong into such a stack.
    """
    if tape.output < 0 or (tape.output and not tape.steps):
        raise UnsupportedLayerError("an output that does not depend on the input", strategy)
    steps = folded_steps(tape)
    made, roots, position = {step.output: step for step in steps}, roots_of(steps), tape.output
    links: list[Link] = []
    n = tape.values[0].shape[0]
    while True:
        scales, position = _scales_before(position, made, tape)
        if softmax and not links and position and made[position].name in LOG_SOFTMAX:
            position = made[position].inputs[0]
        activation, root = None, roots.get(position, position)
        if root != position:
            activation = tape.values[root], tape.values[position]
            _, position = _scales_before(root, made, tape)
        weights = made[position].weights if position else None
        links.append(Link(None if weights is None else weights.weight, scales, activation))
        if position == 0:
            return links[::-1]
        step = made[position]
        each_row_alone = len(tape.values[step.inputs[0]].shape) == 2 and tape.values[step.inputs[0]].shape[0] == n
        if weights is None or weights.kind != "dense" or not each_row_alone:
            raise UnsupportedLayerError(f"the operation {step.name.strip('_')!r}", strategy)
        position = step.inputs[0]


def _scales_before(position: int, made: dict[int, Step], tape: Tape) -> tuple[list[tuple[Any, tuple[int, ...]]], int]:
    """Constant factors just before a value, and the value that they are applied to."""
    scales = []
    while (step := made.get(position)) is not None:
        shape = tuple(tape.values[position].shape[1:])
        if step.affine is not None:
            scales.append((step.affine[0], shape))
        elif not (
            step.name.lower().strip("_") in RESHAPING
            and math.prod(tape.values[position].shape) == math.prod(tape.values[step.inputs[0]].shape)
        ):
            break
        position = step.inputs[0]
    return scales, position


def weights_of(links: Sequence[Link], strategy: str) -> list[NDArray]:
    """Weights ``(n_in, n_out)`` of each layer, their product maps columns to outputs.

    A factor behind an activation belongs to the layer that follows, one behind the last layer to this.

    Parameters
    ----------
    links : sequence of Link
        With NumPy arrays.
    strategy : str
        Named in errors.
    """
    weights: list[NDArray] = []
    factor: Any = 1.0
    for link in links:
        if link.weight is not None:
            weights.append(np.reshape(factor, (-1, 1)) * np.asarray(link.weight, dtype=np.float64))
        factor = np.prod([_row(scale, shape, strategy) for scale, shape in link.scales], axis=0)
        factor = factor * (1.0 if link.activation is None else _slope(*link.activation))
    if not weights:
        raise UnsupportedLayerError("a network without dense layers", strategy)
    weights[-1] = weights[-1] * factor
    return weights


def _row(scale: Any, shape: tuple[int, ...], strategy: str) -> NDArray:
    """One factor for each number of a row, in one dimension."""
    scale = np.asarray(scale, dtype=np.float64)
    if scale.ndim > len(shape) and scale.shape[0] != 1:
        raise UnsupportedLayerError("a factor that differs between rows", strategy)
    return np.broadcast_to(scale, (1, *shape)).ravel()


def _slope(z: Any, a: Any) -> float:
    """What an activation is replaced by: 1 if it rises, -1 if it falls, its slope if it is a line."""
    z, a = (np.asarray(v, dtype=np.float64).ravel() for v in (z, a))
    slope, constant = np.polyfit(z, a, 1) if np.ptp(z) > 0 else (1.0, 0.0)
    if np.abs(a - slope * z - constant).max() <= 1e-5 * np.ptp(a):
        return float(slope)
    steps = np.diff(a[np.argsort(z, kind="stable")])
    return -1.0 if (steps <= 0).all() else 1.0


#: Activations of stacks that are computed in NumPy, in scikit-learn's names.
FUNCTIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


def dense_network(
    tape: Tape, head: Head, classes: NDArray | None, array: Callable[[Any], NDArray]
) -> DenseNetwork | None:
    """The network of a tape that is a chain of dense layers with one kind of activation between them, or None.

    Scales and shifts, such as those of standardisation and batch normalisation, are folded in.

    Parameters
    ----------
    tape : Tape
        From rows to raw outputs, of a few rows.
    head, classes
        Of the network.
    array : callable
        From the framework's constants to NumPy arrays.

    Returns
    -------
    DenseNetwork or None
    """
    at, n, dtype = 0, tape.values[0].shape[0], array(tape.values[0]).dtype
    weights: list[NDArray] = []
    biases: list[NDArray] = []
    activations: list[str] = []
    scale, shift = np.ones(1), np.zeros(1)  # of the numbers that the next layer reads
    for step in _leading_to(tape.output, folded_steps(tape)):
        if step.inputs != (at,):
            return None
        shape, at = tuple(tape.values[at].shape), step.output
        if step.affine is not None:
            factor, addend = (_of_row(array(v), shape) for v in step.affine)
            if factor is None or addend is None:
                return None
            scale, shift = scale * factor, shift * factor + addend
        elif step.weights is not None and step.weights.kind == "dense" and len(shape) == 2 and shape[0] == n:
            W = np.asarray(array(step.weights.weight), dtype=np.float64)
            if W.shape[0] != shape[1]:
                return None
            b = np.zeros(W.shape[1]) if step.weights.bias is None else array(step.weights.bias)
            if len(weights) > len(activations):
                activations.append("identity")
            weights.append(np.reshape(scale, (-1, 1)) * W)
            biases.append(np.ravel(b) + np.broadcast_to(shift, len(W)) @ W)
            scale, shift = np.ones(1), np.zeros(1)
        elif _name(step) in FUNCTIONS and step.constants == 0 and len(weights) == len(activations) + 1:
            weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale + shift
            activations.append(FUNCTIONS[_name(step)])
            scale, shift = np.ones(1), np.zeros(1)
        elif not (_name(step) in RESHAPING and math.prod(tape.values[at].shape) == math.prod(shape)):
            return None
    if at != tape.output or len(weights) != len(activations) + 1 or len(set(activations)) > 1:
        return None
    weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale + shift
    centre = np.asarray(array(tape.values[0]), dtype=np.float64).reshape(n, -1).mean(axis=0).astype(dtype)
    biases[0] = biases[0] + centre.astype(np.float64) @ weights[0]
    weights, biases = ([np.ascontiguousarray(v, dtype=dtype) for v in vs] for vs in (weights, biases))
    return DenseNetwork(weights, biases, (activations or ["identity"])[0], head, classes, centre=centre)


def _leading_to(output: int, steps: Sequence[Step]) -> list[Step]:
    """Steps that a value is computed by; the ending may have been taken off."""
    wanted, found = {output}, []
    for step in reversed(steps):
        if step.output in wanted:
            wanted.update(step.inputs)
            found.append(step)
    return found[::-1]


def _name(step: Step) -> str:
    return step.name.lower().strip("_")


def _of_row(constant: Any, shape: tuple[int, ...]) -> NDArray | None:
    """A constant as one number for each of a row's, or one for all; None if it differs between rows."""
    constant = np.asarray(constant, dtype=np.float64)
    if constant.size == 1:
        return constant.reshape(1)
    if constant.ndim > len(shape) or (constant.ndim == len(shape) and constant.shape[0] != 1):
        return None
    return np.broadcast_to(constant, (1, *shape[1:])).ravel()
