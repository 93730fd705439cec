"""Contexts that set what is kept globally, and put it back: random generators, the float type, and how code is run."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

#: Where Keras keeps its own generator and the seed it was made from.
KERAS_STATES = ("global_seed_generator", "global_random_seed")

#: The generators are the process's, so two threads must not seed them at once.
_LOCK = threading.RLock()


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed every generator for the time of the block, then put the old states back; None does neither.

    Python's, NumPy's, Keras' and the back end's generators are restored, and operation determinism is never
    switched on. One trace cannot be avoided on TensorFlow: the counters of eager operations that were called with
    a seed of their own start anew, as after `tf.random.set_seed`.
    """
    if seed is None:
        yield
        return
    with _LOCK, ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        for name in KERAS_STATES:
            old = global_state.get_global_attribute(name)
            stack.callback(_set_keras_state, name, old)
        if keras.backend.backend() == "tensorflow":
            stack.enter_context(_seeded_tensorflow(seed))
        elif keras.backend.backend() == "torch":
            from ..torch._untouched import seeded as seeded_torch

            stack.enter_context(seeded_torch(seed))
        random.seed(seed)
        np.random.seed(seed % 2**32)
        _set_keras_state("global_seed_generator", None)  # made anew, from Python's generator
        _set_keras_state("global_random_seed", seed)
        yield


def _set_keras_state(name: str, value: Any) -> None:
    global_state.set_global_attribute(name, value)


@contextmanager
def _seeded_tensorflow(seed: int) -> Iterator[None]:
    import tensorflow as tf
    from tensorflow.python.eager import context

    # there is no public way to read the global seed's state
    eager = context.context()
    old = {name: getattr(eager, name, None) for name in ("_seed", "_rng")}
    try:
        tf.random.set_seed(seed)
        yield
    finally:
        for name, value in old.items():
            setattr(eager, name, value)


@contextmanager
def computing_in(dtype: Any) -> Iterator[None]:
    """Layers, losses and metrics made in the block are of this float type, unless they say otherwise."""
    name, floatx, policy = np.dtype(dtype).name, keras.config.floatx(), keras.config.dtype_policy()
    if name == "float32" or floatx == name:
        # float32 means "as Keras is set": a mixed-precision policy is the user's to choose
        yield
        return
    try:
        keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@contextmanager
def without_graphs() -> Iterator[None]:
    """A model's own tf.function would keep what is put in the place of a layer or an operation."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    old = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(old)
