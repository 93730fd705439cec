"""The attention layers of a model, and the weights that they use in a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from .._attended import INSTEAD, no_attention
from ..exceptions import UnsupportedModelError
from ._activation import calling, replaced
from ._default import every_layer

#: Layers that give their weights on request.
ATTENTIONS = (
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.Attention,  # and AdditiveAttention, which is one
)


@contextmanager
def attending(model: keras.Model, watch: Callable[[Any], Any], keep: Callable[[Any], None]) -> Iterator[None]:
    """In the block, see the weights that each attention uses.

    Parameters
    ----------
    model : keras.Model
    watch : callable
        Gets what a layer is called with, tensors and others; gives what it computes with.
    keep : callable
        Gets weights ``(n, n_heads, n_queries, n_keys)`` or ``(n, n_queries, n_keys)``, in the order of the calls.

    Raises
    ------
    UnsupportedModelError
        For a model without attention layers, or with one that does not give its weights.
    """
    layers = [layer for layer in every_layer(model) if isinstance(layer, ATTENTIONS)]
    if not layers:
        raise no_attention()
    for layer in layers:
        if "return_attention_scores" not in inspect.signature(type(layer).call).parameters:
            raise UnsupportedModelError(
                f"Layer {layer.name!r} is a {type(layer).__name__}, whose `call` has no return_attention_scores, so "
                f"that its attention cannot be seen. {INSTEAD}"
            )

    def seen(layer: Any) -> Callable[..., Any]:
        def call(*args: Any, return_attention_scores: bool = False, **kwargs: Any) -> Any:
            args, kwargs = keras.tree.map_structure(watch, (args, kwargs))
            out, weights = type(layer).call(layer, *args, return_attention_scores=True, **kwargs)
            keep(weights)
            return (out, weights) if return_attention_scores else out

        return call

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(calling(layer, seen(layer)))
            for name in ("_flash_attention", "_return_attention_scores"):  # fused kernels; what a call has asked for
                if name in vars(layer):
                    stack.enter_context(replaced(layer, name))(False)
        yield
