"""WeightWatcher: a watcher of the weights on the input columns."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_scalar

from ._input_weights import InputWeights, input_weights
from ._watcher import Watcher

#: Numbers that are collected before they are looked at together: many, as each time costs some calls, but few enough to
#: stay in the processor's cache.
BUFFER = 2**16
#: Largest ratio of the columns' spreads at which they count as on one scale.
ONE_SCALE = 10


class WeightWatcher(Watcher):
    """Base: takes samples of the weights each epoch or step, several at a time.

    A subclass implements `_reset` and `_take`.
    """

    per: str
    every: int = 1

    _weights: InputWeights | None = None
    _final: NDArray | None = None
    _n_seen = 0

    def _reset(self, size: int) -> None:
        """Forget an earlier training; samples will have ``size`` numbers."""
        raise NotImplementedError

    def _take(self, samples: NDArray, times: NDArray) -> None:
        """Take in samples ``(n, size)`` of the weights, after so many epochs or steps; 0 are the initial weights."""
        raise NotImplementedError

    @property
    def per_step(self) -> bool:  # type: ignore[override]
        return self.per == "step"

    def initialize(self) -> WeightWatcher:
        """Part of skorch's protocol: forget an earlier training."""
        self._final = None
        return self

    def _begin(self) -> None:
        if self.per not in ("epoch", "step"):
            raise ValueError(f"per={self.per!r} must be 'epoch' or 'step'.")
        check_scalar(self.every, "every", Integral, min_val=1)
        weights = self._weights = input_weights(self._model, self._rows)
        now = np.empty((1, weights.size))
        weights.read_into(now[0])
        self._check(now)
        # the weights are where the last training left them: the same training goes on
        goes_on = self._final is not None and np.array_equal(self._final, now[0])
        self._final = None
        if not goes_on:
            self._n_seen = 0
            self._reset(weights.size)
            self._take(now, np.zeros(1, dtype=int))
        dtype = np.result_type(*(kernel.read() for kernel in weights.kernels))
        self._buffer = np.empty((int(np.clip(BUFFER // max(weights.size, 1), 1, 256)), weights.size), dtype)
        starts = np.cumsum([0, *weights.sizes])
        parts = list(zip(weights.kernels, starts[:-1], starts[1:], strict=True))
        # for each sample of the buffer what reads a kernel, and where it goes: found once, as steps are short.
        self._places = [[(k.read, row[a:b].reshape(k.shape)) for k, a, b in parts] for row in self._buffer]
        self._filled = 0

    def _step(self) -> None:
        self._n_seen += 1
        if self._n_seen % self.every:
            return
        for read, place in self._places[self._filled]:
            place[...] = read()
        self._filled += 1
        if self._filled == len(self._buffer):
            self._flush()

    def _steps(self, weights: list[NDArray]) -> None:
        self._flush()
        n = len(weights[0])
        times = self._n_seen + 1 + np.arange(n)
        due = times % self.every == 0
        samples = np.concatenate([block.reshape(n, -1)[due] for block in weights], axis=1)
        self._n_seen += n
        self._pass_on(samples, times[due])

    def _epoch(self, logs: dict[str, float]) -> None:
        if self.per == "epoch":
            self._step()
            self._flush()  # what is not a number is told at once

    def _flush(self) -> None:
        if self._filled:
            last = self._n_seen // self.every
            times = self.every * (last - self._filled + 1 + np.arange(self._filled))
            self._pass_on(self._buffer[: self._filled], times)
            self._filled = 0

    def _pass_on(self, samples: NDArray, times: NDArray) -> None:
        self._check(samples)
        self._take(samples, times)

    def _check(self, samples: NDArray) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(samples.sum())  # which is quicker; large numbers may overflow
        if not finite and not np.isfinite(samples).all():
            when, what = "before the training", "Draw them anew."
            if self._n_seen:
                when = f"after {self.per} {self._n_seen} at the latest"
                what = "The training has diverged: standardise X, or lower the learning rate."
            raise ValueError(f"Weights of the first layer are NaN or infinite {when}. {what}")

    def _end(self) -> None:
        weights = self._weights
        assert weights is not None
        self._flush()
        final = np.empty(weights.size)
        weights.read_into(final)
        self._check(final)
        self._final = final
        if self._rows is not None:
            self._warn_of_scales(weights.spread(self._rows))

    def release(self) -> None:
        """Let go of the model and the rows; what is kept knows which weight belongs to which column."""
        super().release()
        for name in ("_buffer", "_places"):
            self.__dict__.pop(name, None)
        if self._weights is not None:
            kernels = tuple(replace(kernel, read=_gone) for kernel in self._weights.kernels)
            self._weights = replace(self._weights, kernels=kernels, spread=_gone)

    def _warn_of_scales(self, spread: NDArray) -> None:
        varying = np.flatnonzero(spread > 0)
        if len(varying) < 2:
            return
        low, high = varying[spread[varying].argmin()], varying[spread[varying].argmax()]
        if spread[high] > ONE_SCALE * spread[low]:
            name = [self._names[j] if self._names else f"column {j}" for j in (low, high)]
            warnings.warn(
                f"The columns are not on one scale (the standard deviation of {name[1]} is "
                f"{spread[high]:.3g}, of {name[0]} {spread[low]:.3g}), so their weights cannot be compared. Put a "
                "StandardScaler or a normalisation layer in front of the network.",
                UserWarning,
                stacklevel=2,
            )

    def _watched(self) -> InputWeights:
        """The weights of a training that is over."""
        if self._final is None or self._weights is None:
            raise NotFittedError(
                f"This {type(self).__name__} has watched no training to its end; train with it as a callback, or call "
                "on_train_begin(), on_epoch_end() and on_train_end() in your loop."
            )
        return self._weights


def _gone(*args: Any) -> NDArray:
    raise NotFittedError("The training is over, and its model is not kept.")
