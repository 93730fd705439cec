"""keras_network: any Keras model behind the Network boundary, on any back end."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from .._head import Head, Output, decide_head, is_distribution
from .._inputs import Inputs
from .._network import Network, chunks
from ..exceptions import UnsupportedModelError
from ._activation import (
    SQUASHING,
    activation_name,
    call,
    exclusive,
    has_graph,
    is_built,
    last_operation,
    squashing_layers,
    unchanged,
    without_activation,
)
from ._losses import UNITS, loss_name, only_loss, wants_probabilities
from ._squashing import behind_the_weights, can_be_moved, far_rows
from ._table import number_of_inputs, reads_table, without_table

#: Rows on which a model is tried.
PROBED = 32
#: How far a softmax of what was computed in few digits may be from the model's own.
TOLERANCE = {"float16": 5e-3, "bfloat16": 5e-2}


def keras_network(
    model: Any,
    X: NDArray,
    *,
    y: NDArray | None = None,
    classes: NDArray | None = None,
    regression: bool = False,
    output: Output = "margin",
    inputs: Inputs | None = None,
) -> Network:
    """Put a trained model behind the boundary; see `skexplain._wrap.as_network` for the parameters.

    ``inputs`` says which columns of X become which input of the model; None: X is its only one.

    Raises
    ------
    UnsupportedModelError
        For models of the old tf_keras, models with several outputs, and models with several inputs for a table.
    ValueError
        For inputs of another number, or other names, than the model has.
    """
    if not isinstance(model, keras.Model):
        raise UnsupportedModelError(
            f"A {type(model).__module__}.{type(model).__name__} is not a keras.Model of Keras {keras.__version__}."
        )
    if inputs is None and (number_of_inputs(model) or 1) > 1:
        raise UnsupportedModelError(
            f"The model has {number_of_inputs(model)} inputs, but X is one table; pass a dict or tuple with an array "
            "for each input."
        )
    model = reads_table(model, inputs)
    activation, ending = ending_of(model, X)
    n_raw = int(np.prod(predict_once(model, X).shape[1:]))
    known = "linear" if activation == "bounded" else activation
    head, labels = decide_head(known, n_raw, output=output, y=y, classes=classes, regression=regression)
    if activation == "bounded" and head.kind != "linear":
        raise UnsupportedModelError(bounded(n_raw))
    squashed = head.kind == activation != "linear"
    arguments: dict[str, Any] = {
        "classes": labels,
        "ending": ending if squashed else None,
        "recover": squashed and ending is None,
        "rows": np.asarray(X[:PROBED]),
    }
    if keras.backend.backend() == "torch":
        from ._torch import network_on_torch

        return network_on_torch(model, head, **arguments)
    if keras.backend.backend() == "tensorflow":
        from ._tensorflow import KerasNetwork

        return KerasNetwork(model, head, **arguments)
    return PredictingNetwork(model, head, **arguments)


def ending_of(model: Any, X: NDArray) -> tuple[str, Any]:
    """The activation that a model's outputs have gone through, and what applies it.

    Parameters
    ----------
    model : keras.Model
    X : ndarray of shape (n, *features)
        Rows to try it on. A softmax or sigmoid counts as taken off only if, applied again, it gives the outputs back.

    Returns
    -------
    activation : {"softmax", "sigmoid", "linear", "bounded"}
        "bounded": the outputs have gone through something that keeps them between 0 and 1, but are neither one
        probability a unit nor one distribution a row, as far as can be seen.
    ending : layer, operation or None
        None if the activation cannot be taken off.
    """
    X = X[:PROBED]
    with exclusive:  # also what another thread took off would not be seen
        p = predict_once(model, X)
        last = last_operation(model)
        candidates = [last] if last is not None else [] if has_graph(without_table(model)) else squashing_layers(model)
        for operation in candidates:
            name = activation_name(operation)
            if name not in SQUASHING:
                continue
            with without_activation(operation):
                z = flat(predict_once(model, X))
            back = softmax(z, axis=-1) if name == "softmax" else expit(z)
            if z.shape == flat(p).shape and np.allclose(back, flat(p), atol=TOLERANCE.get(model.compute_dtype, 1e-5)):
                return name, operation
        return _unseen_ending(model, X, flat(p)), None


def _unseen_ending(model: Any, X: NDArray, p: NDArray) -> str:
    """The activation of outputs that nothing could be taken off of, by their values and what computed them."""
    if np.any(p < 0) or np.any(p > 1):
        return "softmax" if is_distribution(p) else "linear"
    p = np.concatenate([p, _far_outputs(model, X, p)])
    if is_distribution(p):
        return "softmax"
    if np.any(p < 0) or np.any(p > 1):
        return "linear"
    trace, model = behind_the_weights(model, X), without_table(model)
    if trace == "free" and (has_graph(model) or not wants_probabilities(model)):
        return "linear"
    each = wants_probabilities(model) and loss_name(only_loss(model)) in UNITS
    return "sigmoid" if trace == "sigmoid" or p.shape[1] == 1 or each else "bounded"


def _far_outputs(model: Any, X: NDArray, p: NDArray) -> NDArray:
    """Outputs far from the rows, where logits leave [0, 1] and probabilities do not; none where they cannot be had."""
    if not can_be_moved(model):
        return p[:0]
    try:
        return flat(predict_once(model, far_rows(X), limit=None))
    except Exception:  # each framework has its own; the model reads codes, not numbers
        return p[:0]


def bounded(units: int) -> str:
    """What is wrong with outputs in [0, 1] that are not known to be probabilities."""
    return (
        f"The model's {units} outputs lie between 0 and 1, but its last operation is neither a softmax nor a sigmoid, "
        "so it cannot be known of what they are probabilities. End the model in Dense(units, activation='softmax' or "
        "'sigmoid'), or let it return logits."
    )


def flat(p: NDArray) -> NDArray:
    """Outputs with one dimension a row."""
    return p.reshape(len(p), -1)


def predict_once(model: Any, X: NDArray, limit: int | None = PROBED) -> NDArray:
    """Outputs for the first few rows, without a graph being traced; builds models that are not built."""
    rows = keras.ops.convert_to_tensor(np.asarray(X[:limit], dtype=model.compute_dtype))
    building = not is_built(model)
    with unchanged(model, building=building):
        if building:
            call(model, rows, building=True)
        return np.asarray(keras.ops.convert_to_numpy(keras.ops.stop_gradient(call(model, rows))), dtype=np.float64)


class PredictingNetwork(Network):
    """A Keras model on a back end whose gradients are not offered; parameters as for `KerasNetwork`."""

    def __init__(
        self, model: Any, head: Head, *, classes: NDArray | None, ending: Any, recover: bool, rows: NDArray
    ) -> None:
        self.model, self.head, self.classes = model, head, classes
        self.ending, self.recover = ending, recover

    def raw(self, X: NDArray) -> NDArray:
        with without_activation(self.ending) if self.ending is not None else nullcontext():
            parts = []
            for block in chunks(len(X)):
                x = keras.ops.convert_to_tensor(np.asarray(X[block], dtype=self.model.compute_dtype))
                parts.append(np.asarray(keras.ops.convert_to_numpy(call(self.model, x)), dtype=np.float64))
        z = np.concatenate(parts).reshape(len(X), -1)
        if not self.recover:
            return z
        p = np.clip(z, np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).eps / 2)
        return np.log(p) if self.head.kind == "softmax" else np.log(p) - np.log1p(-p)

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        raise UnsupportedModelError(
            f"Gradients of Keras models are offered on TensorFlow and torch, not on {keras.backend.backend()}. Load "
            "the model with KERAS_BACKEND=tensorflow, or use attribution='permutation'."
        )
