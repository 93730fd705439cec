"""Is a model a stack of dense layers? Then these are their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._stack import Stack, falls
from ..exceptions import UnsupportedLayerError
from ._activation import has_graph
from ._first_dense import line, scale_of

#: Layers that are an activation of each number alone, without a function to look at.
ACTIVATIONS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.PReLU)


def dense_stack(model: Any, ending: Any, features: tuple[int, ...]) -> list[NDArray]:
    """Weights ``(n_in, n_out)`` between the input and the outputs; see `skexplain._network.Network.dense_weights`.

    Parameters
    ----------
    model : keras.Model
        Built.
    ending : layer, operation or None
        What applies the last activation, which is taken off.
    features : tuple of int
        Shape of one row.

    Raises
    ------
    UnsupportedLayerError
        With the name of the layer that does not belong into such a stack.
    """
    stack = Stack(features)
    _extend(stack, model, ending)
    if not (weights := stack.weights()):
        raise _unsupported(f"{type(model).__name__} without dense layers")
    return weights


def _extend(stack: Stack, model: Any, ending: Any) -> None:
    """Add the layers of a model, also of those inside it."""
    if not has_graph(model):
        raise _unsupported(f"{type(model).__name__}, a model whose graph is not known")
    for layer, uses in line(model):
        name = type(layer).__name__
        if uses == 0:
            raise _unsupported(f"{name} of several branches")
        if isinstance(layer, keras.Model):
            _extend(stack, layer, ending)
        elif type(layer) is keras.layers.Dense:
            if len(stack.shape) != 1 or getattr(layer, "quantization_mode", None) is not None:
                raise _unsupported(f"{name} on rows of shape {stack.shape}, or quantized")
            stack.multiply(np.asarray(keras.ops.convert_to_numpy(layer.kernel), dtype=np.float64))
            if layer is not ending:
                _bend(stack, layer.activation, name)
        elif (scale := scale_of(layer)) is not None:
            stack.scale(scale)
            if isinstance(layer, keras.layers.Flatten):
                if layer.data_format == "channels_first" and len(stack.shape) > 1:
                    raise _unsupported("Flatten with data_format='channels_first'")
                stack.shape = (int(np.prod(stack.shape)),)
        elif isinstance(layer, ACTIVATIONS):
            stack.bend()
        elif layer is ending:
            continue
        elif isinstance(layer, keras.layers.Activation) or not isinstance(layer, keras.Layer):
            _bend(stack, getattr(layer, "activation", layer), name)
        else:
            raise _unsupported(name)


def _bend(stack: Stack, function: Callable[[Any], Any], name: str) -> None:
    """An activation, tried on numbers whether it acts on each alone."""
    z = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    called = getattr(function, "__name__", type(function).__name__)
    called = name if called == name else f"{name}, {called}"
    pairs = np.repeat(z.reshape(-1, 1), 2, axis=1)  # each number beside itself only
    try:
        together, alone = (
            np.asarray(keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(v))), dtype=np.float64)
            for v in (z, pairs)
        )
    except (TypeError, ValueError) as exc:  # an operation with more arguments
        raise _unsupported(called) from exc
    shapes = (together.shape, alone.shape) == (z.shape, pairs.shape)
    if not shapes or not np.allclose(together.ravel(), alone[:, 0], rtol=1e-5, atol=1e-6):
        raise _unsupported(called)
    if np.allclose(together, z, rtol=1e-6):
        return
    slope, constant = np.polyfit(z.ravel(), together.ravel(), 1)
    if np.allclose(together, slope * z + constant, rtol=1e-4, atol=1e-5):
        raise _unsupported(f"{called}, which is a factor")
    stack.bend(falls(z, together))


def _unsupported(layer: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(layer, "A method of weights")
