"""Removal: what stands in for columns that are taken away."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from ..attributions._baseline import NAMES, baseline_rows
from ._judged import Judged

#: Fewest rows from which columns are predicted.
FEWEST_ROWS = 20
#: Most columns that are predicted from each other.
MOST_COLUMNS = 512


class Removal:
    """Takes columns away from rows; the same draws each time, so that only the order of removals differs.

    Parameters
    ----------
    removal : {"background", "mean", "zero", "conditional"} or array-like
        What columns are replaced by: those of random rows of the background, of its mean, zeros, of rows of your own,
        or a draw given the columns that are left, by a Gaussian fitted to the background.
    judged : Judged
    n_draws : int
        Draws for each row, where there is anything to draw.
    rng : numpy.random.Generator
    """

    def __init__(self, removal: Any, judged: Judged, n_draws: int, rng: np.random.Generator) -> None:
        self.judged, rows = judged, judged.rows
        self.precision: NDArray | None = None
        if isinstance(removal, str) and removal not in (*NAMES, "conditional"):
            raise ValueError(
                f"removal={removal!r}; choose one of {[*NAMES, 'conditional']}, or pass one or several rows."
            )
        if isinstance(removal, str) and removal == "conditional":
            self._fit(judged.background)
            self.noise = rng.normal(size=(n_draws, len(rows), rows[0].size))
            return
        others = baseline_rows(removal, judged.background)
        n_draws = 1 if len(others) == 1 else n_draws
        self.others = others[rng.integers(len(others), size=(n_draws, len(rows)))]

    def __call__(self, removed: NDArray) -> NDArray:
        """The rows without the groups where ``removed`` ``(n, n_groups)`` is true: ``(n_draws, n, *features)``."""
        columns = self.judged.columns(removed)
        others = self.others if self.precision is None else self._drawn(columns.reshape(len(columns), -1))
        return np.where(columns, others, self.judged.rows)

    def _fit(self, background: NDArray) -> None:
        flat = background.reshape(len(background), -1)
        if len(flat) < FEWEST_ROWS or flat.shape[1] > MOST_COLUMNS or flat.dtype.kind not in "biuf":
            raise ValueError(
                f"removal='conditional' predicts columns from each other, which takes at least {FEWEST_ROWS} rows of "
                f"background and at most {MOST_COLUMNS} columns of numbers; got {flat.shape} of {flat.dtype}. Pass a "
                "larger background, or use removal='background'."
            )
        spread = flat.std(axis=0)
        self.scale = np.where(spread > 0, spread, 1.0)
        self.mean = flat.mean(axis=0)
        fitted = LedoitWolf(assume_centered=True).fit((flat - self.mean) / self.scale)
        # a constant column has a variance too small to divide by; it is drawn as it is
        self.precision = np.linalg.inv(fitted.covariance_ + 1e-8 * np.eye(len(spread)))

    def _drawn(self, gone: NDArray) -> NDArray:
        """Columns R, given K, are normal with precision P_RR and mean ``mean_R - P_RR^-1 P_RK (x - mean)_K``."""
        P = self.precision
        assert P is not None
        z = (self.judged.rows.reshape(len(gone), -1) - self.mean) / self.scale
        out = np.empty(self.noise.shape)
        for i, R in enumerate(gone):
            L = np.linalg.cholesky(P[np.ix_(R, R)])
            centre = -np.linalg.solve(L.T, np.linalg.solve(L, P[np.ix_(R, ~R)] @ z[i, ~R]))
            out[:, i, R] = centre + np.linalg.solve(L.T, self.noise[:, i, R].T).T
            out[:, i, ~R] = z[i, ~R]
        return (out * self.scale + self.mean).reshape(-1, *self.judged.rows.shape)
