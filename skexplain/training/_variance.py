"""VIANN: the variance of the weights on a column while the network trains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._moments import Moments
from ._weight_watcher import WeightWatcher


class VarianceImportance(WeightWatcher):
    """What `VarianceImportanceKeras` and `VarianceImportanceTorch` share; see there."""

    def __init__(self, *, per: str = "epoch", include_initial: bool = True, normalize: str | None = "sum") -> None:
        self.per = per
        self.include_initial = include_initial
        self.normalize = normalize

    @property
    def var_scores(self) -> NDArray:
        """Importance of each column, ``(n_columns,)``, as ``normalize`` says; once the training is over."""
        raw = self.raw_scores
        if self.normalize is None:
            return raw
        low, total = (raw.min(), np.ptp(raw)) if self.normalize == "minmax" else (0.0, raw.sum())
        return (raw - low) / total if total > 0 else np.zeros_like(raw)

    @property
    def feature_importances_(self) -> NDArray:
        """The same as `var_scores`, under scikit-learn's name."""
        return self.var_scores

    @property
    def raw_scores(self) -> NDArray:
        """Sum over a column's weights of their variance times their final size, ``(n_columns,)``."""
        weights = self._watched()
        assert self._final is not None
        return weights.per_column(self._moments.variance * np.abs(self._final))

    def _begin(self) -> None:
        if self.normalize not in ("sum", "minmax", None):
            raise ValueError(f"normalize={self.normalize!r} must be 'sum', 'minmax' or None.")
        super()._begin()

    def _reset(self, size: int) -> None:
        self._moments = Moments(size)

    def _take(self, samples: NDArray, times: NDArray) -> None:
        self._moments.add(samples if self.include_initial else samples[times > 0])
