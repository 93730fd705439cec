"""The training loop: Keras' own ``train_step``, an epoch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from .._data import check_loss
from .._inputs import Inputs
from ..training._watcher import Watcher
from ._input_weights import find
from ._table import arranged

#: What callbacks call that they do at each batch.
TRAINING = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
TESTING = ("on_test_batch_begin", "on_test_batch_end")


class Rows(NamedTuple):
    """Rows to train on or to watch: inputs, targets as the loss takes them, weights or None.

    ``inputs`` says which columns of X become which input of the model; None: X is its only one.
    """

    X: NDArray
    y: NDArray
    weight: NDArray | None
    inputs: Inputs | None = None

    @property
    def arrays(self) -> list[NDArray]:
        """Inputs, targets, and weights if there are any."""
        return [self.X, self.y] + ([] if self.weight is None else [self.weight])

    def take(self, index: Any) -> Rows:
        weight = None if self.weight is None else self.weight[index]
        return Rows(self.X[index], self.y[index], weight, self.inputs)


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Attributes
    ----------
    epochs, initial_epoch, batch_size, validation_batch_size, shuffle, verbose, validation_freq
        As in ``Model.fit``.
    seed : int
        Of the order of the rows.
    """

    epochs: int
    batch_size: int
    validation_batch_size: int
    initial_epoch: int = 0
    shuffle: bool = True
    verbose: Any = 0
    validation_freq: Any = 1
    seed: int = 0


def train(
    model: keras.Model,
    rows: Rows,
    held_out: Rows | None,
    schedule: Schedule,
    callbacks: list[Any],
) -> dict[str, list[float]]:
    """Train a compiled model as ``Model.fit`` does, without its cost for each call and batch.

    On TensorFlow an epoch is one execution of a graph, unless a callback of Keras wants to see every batch. A `Watcher`
    that does is shown the weights of many steps at once. Weights are scaled so that a batch's loss is their weighted
    mean.

    Returns
    -------
    dict of lists
        As ``History.history``.

    Raises
    ------
    ValueError
        When the loss is not a number at the end of an epoch.
    """
    model._initial_epoch = None  # what a callback of an earlier training has set
    callbacks = sorted(callbacks, key=lambda c: isinstance(c, Watcher))  # last, as others put back the best weights
    if not _is_ours(model):
        return _fit(model, rows, held_out, schedule, callbacks)
    watchers = keras.callbacks.CallbackList(
        list(callbacks),
        add_history=True,
        add_progbar=schedule.verbose not in (0, "0"),
        verbose=1 if schedule.verbose == "auto" else schedule.verbose,
        epochs=schedule.epochs,
        steps=-(-len(rows.X) // schedule.batch_size),
        model=model,
    )
    _make_variables(model, rows)
    per_batch = _one_by_one(model, callbacks, TRAINING)
    stepwise = [] if per_batch else [c for c in callbacks if isinstance(c, Watcher) and c.per_step]
    # of a graph's many steps a Watcher is shown each, not the last
    batches = watchers if per_batch else keras.callbacks.CallbackList(_not_watchers(watchers.callbacks))
    epoch_of_training = _pass(model, model.train_step, rows, schedule.batch_size, per_batch, stepwise)
    epoch_of_testing = None
    if held_out is not None:
        per_batch = _one_by_one(model, callbacks, TESTING)
        epoch_of_testing = _pass(model, model.test_step, held_out, schedule.validation_batch_size, per_batch)
    rng = np.random.RandomState(schedule.seed)
    model.stop_training = False
    try:
        watchers.on_train_begin()
        logs: dict[str, Any] = {}
        first = model._initial_epoch or schedule.initial_epoch  # BackupAndRestore goes on where it was
        if schedule.shuffle:
            for _ in range(schedule.initial_epoch, first):
                rng.permutation(len(rows.X))
        for epoch in range(first, schedule.epochs):
            watchers.on_epoch_begin(epoch)
            order = rng.permutation(len(rows.X)) if schedule.shuffle else np.arange(len(rows.X))
            logs = epoch_of_training(order, batches.on_train_batch_begin, batches.on_train_batch_end)
            check_loss(logs.get("loss", 0.0), epoch + 1, _learning_rate(model))
            if epoch_of_testing is not None and _due(epoch, schedule.validation_freq):
                watchers.on_test_begin()
                assert held_out is not None
                seen = epoch_of_testing(
                    np.arange(len(held_out.X)), watchers.on_test_batch_begin, watchers.on_test_batch_end
                )
                watchers.on_test_end(seen)
                logs |= {f"val_{name}": value for name, value in seen.items()}
            watchers.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        if schedule.epochs > first:
            model.optimizer.finalize_variable_values(model.trainable_variables)
        watchers.on_train_end(logs)
    finally:
        history = dict(model.history.history)
        _detach(model, watchers.callbacks)
    return history


def _make_variables(model: keras.Model, rows: Rows) -> None:
    """Make those of metrics and optimizer now: a graph that makes variables is traced twice."""
    X, y, *weight = _batch(model, rows, np.arange(min(2, len(rows.X))))
    outputs = model(X, training=False) if getattr(model, "_call_has_training_arg", True) else model(X)
    model.compute_loss(X, y, outputs, *weight)
    model.compute_metrics(X, y, outputs, *weight)
    model.reset_metrics()
    model.optimizer.build(model.trainable_variables)


def _is_ours(model: keras.Model) -> bool:
    """Whether the loop here does what the model's ``fit`` would."""
    if type(model).fit is not keras.Model.fit or keras.backend.backend() not in ("tensorflow", "torch"):
        return False
    if keras.backend.backend() == "torch":
        return True
    import tensorflow as tf

    return not tf.distribute.has_strategy()


def _fit(
    model: keras.Model,
    rows: Rows,
    held_out: Rows | None,
    schedule: Schedule,
    callbacks: list[Any],
) -> dict[str, list[float]]:
    """``Model.fit``, for back ends, strategies and models that have a loop of their own."""

    def stop_if_diverged(epoch: int, logs: dict[str, Any]) -> None:
        check_loss(float(logs.get("loss", 0.0)), epoch + 1, _learning_rate(model))

    watch = keras.callbacks.LambdaCallback(on_epoch_end=stop_if_diverged)
    weight = rows.weight if rows.weight is None else rows.weight / rows.weight.mean()
    try:
        model.fit(
            _inputs(model, rows),
            rows.y,
            sample_weight=weight,
            batch_size=schedule.batch_size,
            epochs=schedule.epochs,
            initial_epoch=schedule.initial_epoch,
            validation_data=None if held_out is None else (_inputs(model, held_out), *held_out.arrays[1:]),
            validation_batch_size=schedule.validation_batch_size,
            validation_freq=schedule.validation_freq,
            shuffle=schedule.shuffle,
            verbose=schedule.verbose,
            callbacks=[watch, *callbacks],
        )
    finally:
        history = dict(model.history.history)
        _detach(model, callbacks)
    return history


def _pass(
    model: keras.Model,
    step: Callable[[Any], Any],
    rows: Rows,
    size: int,
    per_batch: bool,
    stepwise: Sequence[Watcher] = (),
) -> Callable[..., dict[str, float]]:
    """One pass over rows, as a function of their order; it returns the metrics.

    Watchers that are ``stepwise`` are shown the weights after each step, in the few calls of a graph.
    """
    whole: Any = None
    one: Any = None

    def prepare() -> None:
        nonlocal whole, one
        if keras.backend.backend() == "torch":
            one = _torch_step(model, step, rows)
        elif model.run_eagerly:
            one = _eager_step(model, step, rows)
        else:
            from ._epochs import batch_graph, epoch_graph

            if per_batch:
                one = batch_graph(model, step, rows)
            else:
                kernels: list[Any] = (
                    [kernel.read for kernel in find(model, stepwise[0]._rows).kernels] if stepwise else []
                )
                whole = epoch_graph(model, step, rows, size, kernels, show)

    def show(weights: list[NDArray]) -> None:
        for watcher in stepwise:
            watcher._steps(weights)

    def run(order: NDArray, begin: Callable[..., Any], end: Callable[..., Any]) -> dict[str, float]:
        if whole is None and one is None:
            prepare()  # not before, as callbacks may change the model when training begins
        model.reset_metrics()
        last = -(-len(order) // size) - 1
        if whole is not None:
            begin(0)
            logs = whole(order)
            end(last, logs)
        else:
            for k in range(last + 1):
                begin(k)
                logs = one(order[k * size : (k + 1) * size])
                end(k, logs)
                if model.stop_training:
                    break
        measured = model.get_metrics_result()
        logs = measured if isinstance(logs, dict) and set(measured) == set(logs) else logs
        return {name: float(value) for name, value in logs.items()}

    return run


def _eager_step(model: keras.Model, step: Callable[[Any], Any], rows: Rows) -> Callable[[NDArray], Any]:
    return lambda index: step(_batch(model, rows, index))


def _torch_step(model: keras.Model, step: Callable[[Any], Any], rows: Rows) -> Callable[[NDArray], Any]:
    """Keras' functions around the steps switch gradients off for tests and compile where that is asked for."""
    training = step.__name__ == "train_step"
    model.make_train_function() if training else model.make_test_function()

    def one(index: NDArray) -> Any:
        function = model.train_function if training else model.test_function
        model.train(training)
        try:
            return function([_batch(model, rows, index)])
        finally:
            model.eval()

    return one


def _batch(model: keras.Model, rows: Rows, index: NDArray) -> tuple[Any, ...]:
    X, y, *weight = rows.take(index).arrays
    weight = [w / w.mean() if w.mean() != 0 else w for w in weight]
    X, *others = (keras.ops.convert_to_tensor(a) for a in (X, y, *weight))
    return arranged(model, X, rows.inputs), *others


def _inputs(model: keras.Model, rows: Rows) -> Any:
    """What the model takes, as arrays."""
    taken = arranged(model, rows.X, rows.inputs)
    return keras.tree.map_structure(lambda v: v if v is rows.X else keras.ops.convert_to_numpy(v), taken)


def _one_by_one(model: keras.Model, callbacks: list[Any], names: tuple[str, ...]) -> bool:
    """Whether batches are run one by one: for the back end, or for callbacks that do something at each."""
    base = keras.callbacks.Callback
    return (
        keras.backend.backend() == "torch"
        or bool(model.run_eagerly)
        or any(
            getattr(type(callback), name) is not getattr(base, name) or name in vars(callback)
            for callback in _not_watchers(callbacks)
            for name in names
        )
    )


def _not_watchers(callbacks: list[Any]) -> list[Any]:
    return [callback for callback in callbacks if not isinstance(callback, Watcher)]


def _due(epoch: int, frequency: Any) -> bool:
    return (epoch + 1) % frequency == 0 if isinstance(frequency, int) else epoch + 1 in frequency


def _learning_rate(model: keras.Model) -> float:
    rate = model.optimizer.learning_rate
    rate = float(getattr(rate, "value", rate))  # not through NumPy, to which Keras passes an argument it warns of
    return float(f"{rate:.6g}")  # as it was written, not as float32 holds it


def _detach(model: keras.Model, callbacks: list[Any]) -> None:
    """Callbacks are parameters: they must not hold on to a model, which would be cloned and pickled with them."""
    for callback in callbacks:
        callback.set_model(None)
        if isinstance(callback, Watcher):
            callback.release()
    model.history = None
    # graphs of a pass hold the training rows
    model.train_function = model.test_function = None
