"""The layers of a model that give maps, and what they return in a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras.src.models.functional import Functional

from .._places import no_convolution, unknown_layer
from ._activation import calling, nodes
from ._default import every_layer

#: Of layers, and of the operations that `keras.ops` puts into a functional model.
CONVOLUTIONS = tuple(
    getattr(keras.layers, f"{kind}{d}D{end}")
    for kind, end, dimensions in (
        ("Conv", "", 3),
        ("Conv", "Transpose", 3),
        ("DepthwiseConv", "", 2),
        ("SeparableConv", "", 2),
    )
    for d in range(1, dimensions + 1)
)
OPERATIONS = ("Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv")


@contextmanager
def looking(
    model: keras.Model,
    layer: str | None,
    reading: Callable[[Any, bool], None],
    keep: Callable[[Any, bool], Any],
) -> Iterator[None]:
    """In the block, see what a layer, or every convolution, returns.

    Parameters
    ----------
    model : keras.Model
    layer : str or None
    reading : callable
        Gets what a convolution is called with, and whether its channels are first.
    keep : callable
        Gets what is returned, and whether its channels are first; gives what is handed on.

    Raises
    ------
    ValueError
        For a layer that does not exist, or a name of several.
    UnsupportedModelError
        For no layer, and a model without convolutions.
    """
    convolutions = [part for part in _parts(model) if _convolves(part)]
    asked = convolutions if layer is None else [_named(model, layer)]
    if not asked:
        raise no_convolution()
    usual = _channels_first(convolutions[-1]) if convolutions else None

    def seen(part: Any) -> Callable[..., Any]:
        def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if part in convolutions:
                reading(inputs, _channels_first(part))
            out = type(part).call(part, inputs, *args, **kwargs)
            return keep(out, _channels_first(part, usual)) if part in asked else out

        return call

    with ExitStack() as stack:
        for part in dict.fromkeys([*convolutions, *asked]):
            stack.enter_context(calling(part, seen(part)))
        yield


def _parts(model: keras.Model) -> list[Any]:
    """Layers, also of nested models, and operations that are none."""
    layers = every_layer(model)
    graphs = [m for m in (model, *layers) if isinstance(m, Functional)]
    operations = [node.operation for m in graphs for node in nodes(m)]
    return layers + [op for op in operations if not isinstance(op, keras.Layer)]


def _convolves(part: Any) -> bool:
    operation = type(part).__name__ in OPERATIONS and type(part).__module__.startswith("keras.")
    return isinstance(part, CONVOLUTIONS) or operation


def _channels_first(part: Any, usual: bool | None = None) -> bool:
    """How a layer's results are laid out; where it does not say as is usual in the model, or for Keras."""
    own = getattr(part, "data_format", None)
    if own is None and usual is not None:
        return usual
    return (own or keras.config.image_data_format()) == "channels_first"


def _named(model: keras.Model, name: str) -> Any:
    layers = every_layer(model)
    found = [layer for layer in layers if layer.name == name]
    if not found:
        raise unknown_layer(name, dict.fromkeys(layer.name for layer in layers))
    if len(found) > 1:
        raise ValueError(f"layer={name!r} is the name of {len(found)} layers of the model; give them different names.")
    return found[0]
