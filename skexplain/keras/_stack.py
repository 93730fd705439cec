"""Is the model nothing but a stack of dense layers? Then it is computed in NumPy, where calls cost next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._dense_network import DenseNetwork
from .._head import Head
from ._activation import exclusive
from ._encoded import Encoded, encodes, folded
from ._first_dense import affine_of

#: Activations of Keras that `DenseNetwork` knows, and their names there.
FUNCTIONS = {
    keras.activations.linear: "identity",
    keras.activations.relu: "relu",
    keras.activations.tanh: "tanh",
    keras.activations.sigmoid: "logistic",
}


class DenseStack:
    """A model of dense layers with one kind of activation between them, and of layers that scale and shift.

    Parameters
    ----------
    layers : list of keras.layers.Layer
        From the input to the output.
    ending : layer or None
        The one whose activation is left out.
    rows : ndarray of shape (n, *features)
        A few inputs, of the model's number type.
    head, classes
        Of the network.
    """

    def __init__(self, layers: list[Any], ending: Any, rows: NDArray, head: Head, classes: NDArray | None) -> None:
        self.layers, self.ending, self.head, self.classes = layers, ending, head, classes
        self.features, self.dtype = rows.shape[1:], rows.dtype
        self.centre = rows.mean(axis=0, dtype=np.float64).ravel().astype(self.dtype)

    def network(self) -> DenseNetwork | None:
        """With the weights as they are now, as the model may be given others; None if it is something else."""
        with exclusive:  # another thread may have taken off an activation for a moment
            return self._read()

    def _read(self) -> DenseNetwork | None:
        parts = folded(self.layers)
        if parts is None:
            return None
        weights: list[NDArray] = []
        biases: list[NDArray] = []
        functions: list[str] = []
        scale: NDArray = np.ones(self.features)
        shift: NDArray = np.zeros(self.features)  # of what the next layer reads
        for layer, own in parts:
            if own is not None:
                if scale.ndim != 1:
                    return None
                functions += ["identity"] * (len(weights) - len(functions))
                W, b = own
                weights.append(scale[:, None] * W)
                biases.append(shift @ W + b)
                scale, shift = np.ones(W.shape[1]), np.zeros(W.shape[1])
            affine, function = _parts(layer, own is not None, left_out=layer is self.ending)
            if affine is None or function is None:
                return None
            scale, shift = scale * affine[0], shift * affine[0] + affine[1]
            if isinstance(layer, keras.layers.Flatten):
                scale, shift = scale.ravel(), shift.ravel()
            if function != "identity":
                if len(weights) != len(functions) + 1:
                    return None
                weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale + shift
                scale, shift = np.ones(len(scale)), np.zeros(len(scale))
                functions.append(function)
        if len(weights) != len(functions) + 1 or len(set(functions)) > 1:
            return None
        weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale + shift
        biases[0] = biases[0] + self.centre.astype(np.float64) @ weights[0]
        weights, biases = ([np.ascontiguousarray(v, dtype=self.dtype) for v in vs] for vs in (weights, biases))
        name = functions[0] if functions else "identity"
        return DenseNetwork(weights, biases, name, self.head, self.classes, centre=self.centre)


class EncodedStack:
    """The same behind an encoding of each column.

    Parameters
    ----------
    layers, ending, rows, head, classes
        As for `DenseStack`; the first layer encodes.
    """

    def __init__(self, layers: list[Any], ending: Any, rows: NDArray, head: Head, classes: NDArray | None) -> None:
        self.encoder, *behind = layers
        encoded = self.encoder.pieces(rows).astype(rows.dtype)
        self.stack = DenseStack(behind, ending, encoded, head, classes)

    def network(self) -> Encoded | None:
        """As it is now; None if it is something else."""
        dense = self.stack.network()
        return None if dense is None else Encoded(self.encoder.pieces, dense)


def dense_stack(
    layers: Sequence[Any], ending: Any, rows: NDArray, raw: Callable[[], NDArray], head: Head, classes: NDArray | None
) -> DenseStack | EncodedStack | None:
    """A model as a stack of dense layers on the CPU, None if it is none.

    Parameters
    ----------
    layers : sequence of keras.layers.Layer
        As from `each_alone`.
    ending, rows, head, classes
        As for `DenseStack`.
    raw : callable
        Gives the model's raw outputs for these rows, of shape ``(n, n_raw)``.
    """
    if not all(isinstance(layer, keras.Layer) and layer.compute_dtype == str(rows.dtype) for layer in layers):
        return None
    if not all("CPU" in v.value.device for layer in layers for v in layer.variables):
        return None
    kind = EncodedStack if encodes(layers) else DenseStack
    stack = kind(list(layers), ending, rows, head, classes)
    network = stack.network()
    if network is None:
        return None
    expected = raw()
    alike = np.abs(network.raw(rows) - expected).max() <= 200 * network.eps * np.abs(expected).max()
    return stack if alike else None


def _parts(layer: Any, is_dense: bool, left_out: bool) -> tuple[tuple[Any, Any] | None, str | None]:
    """What a layer does after its weights: a scale and a shift, and the name of an activation; None for others."""
    if "call" in vars(layer):
        return None, None
    kind = type(layer)
    if is_dense or kind is keras.layers.Activation:
        return (1.0, 0.0), "identity" if left_out else _name_of(layer.activation)
    if kind is keras.layers.Softmax and left_out:
        return (1.0, 0.0), "identity"
    if kind is keras.layers.ReLU:
        plain = layer.max_value is None and not layer.negative_slope and not layer.threshold
        return (1.0, 0.0), "relu" if plain else None
    if kind is keras.layers.Flatten and layer.data_format != "channels_last":
        return None, None
    return affine_of(layer), "identity"


def _name_of(activation: Any) -> str | None:
    function = getattr(activation, "__func__", activation)
    # by identity: an object that is called may have no hash
    return next((name for known, name in FUNCTIONS.items() if known is function), None)
