"""Watcher: what looks on while a network trains, in Keras, in skorch or in a loop of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._columns import column_names, evenly
from .._wrap import frameworks

#: Rows of the training data that are kept at hand while a network trains.
ROWS = 1000


class Watcher(BaseEstimator):
    """Base of the callbacks of this package.

    One object speaks three languages. In ``callbacks=`` of a Keras model or of a skorch net, and of this library's
    estimators, its ``on_...`` methods are called by the training. In a loop of one's own they are called by hand:
    ``on_train_begin(model)``, after each step ``on_batch_end()`` if steps are watched, after each epoch
    ``on_epoch_end()``, ``on_train_end()``.

    A subclass implements `_begin`, `_epoch` and `_end`, and `_step` if it may set ``per_step``. While a network trains,
    `_model` is the keras.Model or torch.nn.Module, and `_rows` a sample of the training rows where they are known.
    """

    #: Whether every step of the optimizer is to be seen, not only every epoch.
    per_step = False
    stop_training = False

    _running = False
    _begun: Any = None
    _model: Any = None
    _net: Any = None
    _rows: NDArray | None = None
    _targets: NDArray | None = None
    _names: tuple[str, ...] | None = None

    def _begin(self) -> None:
        """Training begins."""

    def _step(self) -> None:
        """A step has been taken."""

    def _steps(self, weights: list[NDArray]) -> None:
        """Several steps have been taken at once.

        Parameters
        ----------
        weights : list of ndarray of shape (n_steps, *kernel.shape)
            Of each kernel of `InputWeights`, after each step.
        """
        raise NotImplementedError

    def _epoch(self, logs: dict[str, float]) -> None:
        """An epoch is over; ``logs`` has its losses and metrics, under the framework's names."""

    def _end(self) -> None:
        """Training is over."""

    def _stop(self) -> None:
        """Let the epoch that is just over be the last."""
        self.stop_training = True  # for a loop of one's own to read
        if self._net is not None:
            raise KeyboardInterrupt  # as skorch's own callbacks do, and its loop expects
        if "keras" in frameworks(self._model):
            self._model.stop_training = True

    # --- the estimators of this library

    def _named(self, given: Sequence[str] | None, n: int) -> tuple[str, ...]:
        """Names of n columns: the user's, those of the training's rows, or ``x0, x1, ...``."""
        return tuple(column_names(None, self._names if given is None else given, None, n))

    def look(self, X: NDArray, y: NDArray | None = None, names: Any = None) -> None:
        """Take a sample of the rows of the training that is about to begin, and the names of its columns."""
        index = evenly(len(X), ROWS)
        self._rows, self._targets = X[index], None if y is None else y[index]
        self._names = None if names is None else tuple(map(str, names))

    def finish(self) -> None:
        """The training is over, and the weights are what they will be."""
        self._check_running("on_train_end")
        self._end()
        self.release()

    def release(self) -> None:
        """Let go of the model and the rows, also when the training broke off."""
        self._running = False
        for name in ("_model", "_net", "_rows", "_targets", "_begun"):
            self.__dict__.pop(name, None)

    # --- callbacks: of Keras by position (epoch or batch, logs), of skorch with the net first, by hand without either

    def on_train_begin(self, source: Any = None, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Training begins; by hand: of this model, on rows like X."""
        if _is_net(source):
            self._net, self._model = source, source.module_
            if isinstance(X, np.ndarray) and isinstance(y, np.ndarray):
                self.look(X, y, getattr(source, "feature_names_in_", None))
        elif frameworks(source) & {"torch", "keras"}:
            self._model = source
            if X is not None:
                self.look(few_rows(X))
        if self._model is None:
            raise ValueError(f"{type(self).__name__} knows no model to watch; call on_train_begin(model).")
        self._begin()
        self._running = True

    def on_batch_end(self, source: Any = None, logs: Any = None, training: bool = True, **kwargs: Any) -> None:
        """A step has been taken."""
        if training and self.per_step:
            self._check_running("on_batch_end")
            self._step()

    def on_train_batch_begin(self, batch: Any = None, logs: Any = None) -> None:
        """A step is about to be taken, in Keras."""
        self._begun = batch

    def on_train_batch_end(self, batch: Any = None, logs: Any = None) -> None:
        """A step has been taken, in Keras."""
        if self.per_step and self._begun is not None and batch != self._begun:
            raise ValueError(
                f"{type(self).__name__}: Keras takes several steps at once, of which only the last would be seen; "
                "compile the model with steps_per_execution=1, or watch epochs."
            )
        self.on_batch_end()

    def on_epoch_end(self, source: Any = None, logs: Any = None, **kwargs: Any) -> None:
        """An epoch is over; by hand: with its ``logs``, if they are looked at."""
        self._check_running("on_epoch_end")
        if isinstance(source, dict):
            logs = source
        elif _is_net(source):
            logs = {k: v for k, v in source.history[-1].items() if isinstance(v, int | float | np.number)}
        self._epoch(dict(logs or {}))

    def on_train_end(self, source: Any = None, **kwargs: Any) -> None:
        """Training is over; the weights as they are now are the final ones."""
        self.finish()

    def initialize(self) -> Watcher:
        """Part of skorch's protocol: forget an earlier training."""
        return self

    def set_model(self, model: Any) -> None:
        """Part of Keras' protocol: watch this model; None lets go of it."""
        if model is None:
            self.release()
        else:
            self._model = model

    def set_params(self, keras_parameters: Any = None, /, **params: Any) -> Any:
        """Set parameters, as in scikit-learn. Keras passes what it knows of the training, which is not needed."""
        return super().set_params(**params)

    def _check_running(self, called: str) -> None:
        if not self._running:
            raise ValueError(
                f"{type(self).__name__}: {called}() was called, but no training has begun; call on_train_begin()."
            )

    def _ignored(self, *args: Any, **kwargs: Any) -> None:
        pass

    on_epoch_begin = on_batch_begin = on_grad_computed = _ignored
    on_test_begin = on_test_end = on_test_batch_begin = on_test_batch_end = _ignored
    on_predict_begin = on_predict_end = on_predict_batch_begin = on_predict_batch_end = _ignored


def _is_net(source: Any) -> bool:
    """Whether a callback's first argument is a skorch net."""
    return hasattr(source, "module_")


def few_rows(X: Any) -> NDArray:
    """X as an array of rows, for a look at them."""
    X = X.detach().cpu() if hasattr(X, "detach") else X
    X = np.asarray(X)
    if X.ndim < 2 or len(X) == 0:
        raise ValueError(f"X has the shape {X.shape}; pass a few rows as the network reads them, (n, *features).")
    return X
