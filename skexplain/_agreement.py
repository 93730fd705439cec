"""How much models agree on the order of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Resamples of the folds behind the intervals of rank correlations.
RESAMPLES = 1000


@dataclass(frozen=True)
class RankCorrelation:
    """How much two models agree on the order of the columns.

    Attributes
    ----------
    kind : {"importances", "permutation"}
    first, second : str
        Names of the models.
    spearman, kendall : float
        Rank correlation of the means over folds; NaN if one of them is constant.
    spearman_interval, kendall_interval : tuple of two float
        95 % bootstrap interval, see `compare`.
    overlap : int
        Columns that are among the ``k`` most important of both.
    k : int
    """

    kind: str
    first: str
    second: str
    spearman: float
    spearman_interval: tuple[float, float]
    kendall: float
    kendall_interval: tuple[float, float]
    overlap: int
    k: int


def standard_error(values: NDArray, test_ratio: float) -> NDArray:
    """Nadeau and Bengio's standard error of the mean over folds, axis 1; NaN for one fold."""
    J = values.shape[1]
    if J < 2:
        return np.full(values.shape[:1] + values.shape[2:], np.nan)
    return values.std(axis=1, ddof=1) * np.sqrt(1 / J + test_ratio)


def correlate(kind: str, models: Sequence[str], values: NDArray, test_ratio: float, seed: int) -> list[RankCorrelation]:
    """Rank correlations of every pair of models, with bootstrap intervals over folds.

    Parameters
    ----------
    kind, models
        As in `RankCorrelation`.
    values : ndarray of shape (n_models, n_folds, n_features)
    test_ratio, seed
        As in `Comparison`.
    """
    _, J, d = values.shape
    mean = values.mean(axis=1)
    k = min(10, (d + 1) // 2)
    # few folds have few different resamples: each is evaluated once
    counts = np.random.default_rng(seed).multinomial(J, np.full(J, 1 / J), size=RESAMPLES)
    counts, times = np.unique(counts, axis=0, return_counts=True)
    widen = np.sqrt(J / (J - 1) * (1 + J * test_ratio)) if J > 1 else np.nan
    result = []
    for a, b in combinations(range(len(models)), 2):
        if np.isnan(mean[[a, b]]).any():
            continue
        best = _tau_rho(mean[a], mean[b])
        low, high = np.full((2, 2), np.nan)
        if J > 1 and np.isfinite(best).all():
            resampled = [mean[[a, b]] + widen * (w / J @ (values[[a, b]] - mean[[a, b], None])) for w in counts]
            low, high = _interval(np.array(best), np.array([_tau_rho(*p) for p in resampled]), times, J, d)
        top = [set(np.argsort(-mean[m], kind="stable")[:k]) for m in (a, b)]
        result.append(
            RankCorrelation(
                kind=kind,
                first=str(models[a]),
                second=str(models[b]),
                spearman=best[0],
                spearman_interval=(float(low[0]), float(high[0])),
                kendall=best[1],
                kendall_interval=(float(low[1]), float(high[1])),
                overlap=len(top[0] & top[1]),
                k=k,
            )
        )
    return result


def _interval(best: NDArray, draws: NDArray, times: NDArray, J: int, d: int) -> tuple[NDArray, NDArray]:
    """Intervals around Spearman's and Kendall's ``best`` from resampled ``draws`` (n, 2).

    Not percentiles: resampling adds noise, noise lowers a correlation, and so the percentiles lie too low. The draws
    give the spread on Fisher's scale only.
    """
    kept = np.isfinite(draws).all(axis=1)
    draws, times = draws[kept], times[kept]
    # on Fisher's scale 1 is infinite: half a step below it, where a step exchanges two neighbours in rank
    most = 1 - np.array([6 / max(d**3 - d, 7), 2 / max(d * d - d, 3)])
    z, centre = np.arctanh(np.clip(draws, -most, most)), np.arctanh(np.clip(best, -most, most))
    spread = np.sqrt(np.average((z - np.average(z, axis=0, weights=times)) ** 2, axis=0, weights=times))
    half = stats.t.ppf(0.975, J - 1) * spread
    low, high = np.tanh(centre - half), np.tanh(centre + half)
    steady = spread < 1e-12
    return np.where(steady, best, np.minimum(best, low)), np.where(steady, best, np.maximum(best, high))


def _tau_rho(a: NDArray, b: NDArray) -> tuple[float, float]:
    """Spearman's and Kendall's rank correlation; NaN where one order is all ties."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan, np.nan
    rho = np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1]
    # the p-value, of no interest, has a quick method that divides by len(a) - 2
    method = "asymptotic" if len(a) > 2 else "auto"
    return float(np.clip(rho, -1, 1)), float(stats.kendalltau(a, b, method=method).statistic)
