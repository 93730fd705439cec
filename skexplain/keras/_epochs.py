"""A pass over rows as one TensorFlow graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ._training import Rows

INDEX = tf.TensorSpec([None], tf.int32)


def batch_graph(step: Callable[[Any], Any], rows: Rows, jit_compile: Any) -> Callable[[NDArray], Any]:
    """A step on the rows of given indices."""
    X, y = tf.constant(rows.X), tf.constant(rows.y)
    weight = None if rows.weight is None else tf.constant(rows.weight)

    # as in Keras' own loop, the model's Python runs as it is written
    @tf.function(autograph=False, input_signature=[INDEX], jit_compile=jit_compile or None)
    def one(index: tf.Tensor) -> Any:
        batch: tuple[tf.Tensor, ...] = (tf.gather(X, index), tf.gather(y, index))
        if weight is not None:
            w = tf.gather(weight, index)
            batch += (w / tf.reduce_mean(w),)
        return step(batch)

    return one


def epoch_graph(one: Callable[..., Any], n: int, size: int) -> Callable[[NDArray], dict[str, Any]]:
    """All batches of n rows in a given order; what the last one gave is the result."""
    last = (n - 1) // size

    @tf.function(autograph=False, input_signature=[INDEX])
    def whole(order: tf.Tensor) -> Any:
        def batch(k: tf.Tensor) -> tuple[tf.Tensor]:
            one(order[k * size : (k + 1) * size])
            return (k + 1,)

        tf.while_loop(lambda k: k < last, batch, (tf.constant(0),))
        return one(order[last * size :])

    return whole
