"""How often the intervals of `refit_importances` contain the truth: ``python -m benchmarks.coverage``.

Data are drawn anew from a known source, many times, and each time intervals are computed. The truths are measured as
`RefitImportances.interval` defines them: by many explanations of the same fits, by many seeds on the same resamples,
and by fits on many data sets that are drawn independently. A quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor

from skexplain import RefitImportances, importances, refit_importances
from skexplain._clone import reseeded
from skexplain._jobs import in_turn

PAGE = Path(__file__).with_name("coverage.md")
LEVELS = (0.90, 0.95)
#: Rows of a data set, and columns, of which the last is noise.
N, WEIGHTS = 200, np.array([2.0, 1.0, 0.5, 0.25, 0.0])
#: Explanations and seeds behind the truths of the levels below data.
REPEATS, SEEDS = 30, 12
#: Bootstrap samples.
DRAWS = 10


@dataclass(frozen=True)
class Problem:
    """An estimator and how it is explained; None: by its own importances."""

    estimator: Any
    attribution: str | None

    def refit(self, X: NDArray, y: NDArray, **options: Any) -> RefitImportances:
        return refit_importances(self.estimator, X, y, attribution=self.attribution, **options)

    def once(self, train: tuple[NDArray, NDArray], test: tuple[NDArray, NDArray], seed: int) -> NDArray:
        """Importances by a single fit."""
        model = reseeded(self.estimator, seed).fit(*train)
        if hasattr(model, "feature_importances_"):
            return model.feature_importances_
        result = importances(model, *test, attribution=self.attribution, random_state=seed)
        return result.signed if self.attribution == "permutation" else result.values


#: A network of 8 units whose training is cut short: where it ends depends on the seed.
NETWORK = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", alpha=1, max_iter=50)
PROBLEMS = {
    "linear regression, permutation": Problem(LinearRegression(), "permutation"),
    "network, expected gradients": Problem(NETWORK, None),
    "forest of 10 trees, impurity": Problem(RandomForestRegressor(10, min_samples_leaf=5), None),
}


def draw(rng: np.random.Generator, n: int) -> tuple[NDArray, NDArray]:
    """Rows and targets: linear, with a product, columns correlated by 0.3, noise of variance 1."""
    X = np.sqrt(0.7) * rng.normal(size=(n, len(WEIGHTS))) + np.sqrt(0.3) * rng.normal(size=(n, 1))
    return X, X @ WEIGHTS + X[:, 1] * X[:, 2] + rng.normal(size=n)


def expected(problem: Problem, train: int, test: int, fits: int) -> NDArray:
    """Importances by estimators trained on so many rows, over data and seeds: the mean, and its standard error."""
    rngs = [np.random.default_rng(10**6 + k) for k in range(fits)]
    values = np.array([problem.once(draw(r, train), draw(r, test), k) for k, r in enumerate(rngs)])
    return np.array([values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(fits)])


def of_data(problem: Problem, seed: int) -> NDArray:
    """Ends of the intervals over data of one data set, ``(2, 2, n_levels, n_columns)``: ours, and uncorrected halves.

    The second take every training and its held-out rows as a fold of cross-validation, with Nadeau and Bengio's factor
    for that.
    """
    result = problem.refit(*draw(np.random.default_rng(seed), N), random_state=seed)
    folds = result.fits.mean(axis=2)[:, 0]
    J, mean = len(folds), folds.mean(axis=0)
    # trained on and held out are equally many
    error = folds.std(axis=0, ddof=1) * np.sqrt(1 / J + 1)
    halves = [(mean - q * error, mean + q * error) for q in t.ppf((1 + np.array(LEVELS)) / 2, J - 1)]
    return np.array([[result.interval(level) for level in LEVELS], halves]).swapaxes(1, 2)


def of_bootstrap(problem: Problem, seed: int) -> NDArray:
    """Ends of bootstrap intervals, ``(1, 2, n_levels, n_columns)``: trained on rows drawn with replacement."""
    rng = np.random.default_rng(seed)
    X, y = draw(rng, N)
    values = []
    for k in range(DRAWS):
        rows = rng.integers(N, size=N)
        out = np.setdiff1d(np.arange(N), rows)
        values.append(problem.once((X[rows], y[rows]), (X[out], y[out]), seed * DRAWS + k))
    mean, error = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
    quantiles = t.ppf((1 + np.array(LEVELS)) / 2, DRAWS - 1)
    return np.array([[(mean - q * error, mean + q * error) for q in quantiles]]).swapaxes(1, 2)


def of_training(problem: Problem, seed: int) -> dict[str, NDArray]:
    """For the levels below data: whether intervals contain the truth, ``(n_levels, n_columns)``."""
    X, y = draw(np.random.default_rng(seed), N)
    result = problem.refit(X, y, random_state=seed)
    found = {}
    if result.explanation_error.any():
        truth = problem.refit(X, y, n_repeats=REPEATS, random_state=seed).fits.mean(axis=(0, 1, 2))
        found["explanation"] = np.array([inside(result.interval(level, "explanation"), truth) for level in LEVELS])
    if result.fits.shape[2] > 1:
        # the seeds behind the first two, which the interval is of, are left out
        truth = problem.refit(X, y, n_seeds=SEEDS, random_state=seed).fits[:, :, 2:].mean(axis=(0, 1, 2))
        found["model"] = np.array([inside(result.interval(level, "model"), truth) for level in LEVELS])
    return found


def inside(interval: tuple[NDArray, NDArray], truth: NDArray) -> NDArray:
    low, high = interval
    return (low <= truth) & (truth <= high)


def percent(hits: NDArray) -> str:
    """Of columns and data sets; columns of a set are not independent, so its error is between sets."""
    by_set = hits.reshape(len(hits), -1).mean(axis=1)
    return f"{100 * by_set.mean():.1f} ± {100 * by_set.std(ddof=1) / np.sqrt(len(hits)):.1f}"


def line_of(name: str, how: str, ends: NDArray, truth: NDArray) -> tuple[str, ...]:
    """One line of the table, of intervals over data ``(n_sets, 2, n_levels, n_columns)``."""
    low, high = ends[:, 0], ends[:, 1]
    hits = (low <= truth) & (truth <= high)
    centre = (low[:, 0] + high[:, 0]) / 2
    spread = centre.std(axis=0, ddof=1)
    width = np.median((high[:, 1] - low[:, 1]) / (2 * 1.96 * spread))
    bias = np.max(np.abs(centre.mean(axis=0) - truth) / spread)
    return (name, how, *(percent(hits[:, k]) for k in range(len(LEVELS))), f"{width:.2f}", f"{bias:.2f}")


def lines_of(problem: Problem, name: str, options: argparse.Namespace, tell: Callable) -> list[tuple[str, ...]]:
    def over(function: Callable, sets: int) -> list[Any]:
        return list(in_turn(options.n_jobs, partial(_quietly, function, problem), ((k,) for k in range(sets))))

    found = over(of_training, options.few)
    lines = []
    for level in found[0]:
        hits = np.array([f[level] for f in found])
        lines.append((name, level, *(percent(hits[:, k]) for k in range(len(LEVELS))), "", ""))
    tell(f"{name}: these data")
    part = N // 3
    truth, error = _quietly(expected, problem, part, part, options.fits)
    got = np.array(over(of_data, options.sets))
    lines.append(line_of(name, "data", got[:, 0], truth))
    lines.append(line_of(name, "*data, folds for resamples*", got[:, 1], truth))
    known = np.max(error / got[:, 0].mean(axis=1)[:, 0].std(axis=0))
    tell(f"{name}: data; the truth is known to {known:.2f} of the spread")
    truth, _ = _quietly(expected, problem, N, N // 3, options.fits)
    lines.append(line_of(name, "*data, bootstrap*", np.array(over(of_bootstrap, options.sets))[:, 0], truth))
    tell(f"{name}: bootstrap")
    return lines


def _quietly(function: Callable, *args: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # networks that end before they have converged
        return function(*args)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--sets", type=int, default=200, help="data sets for the intervals over data")
    parser.add_argument("--few", type=int, default=40, help="data sets for the others, whose truths cost more")
    parser.add_argument("--fits", type=int, default=1000, help="fits behind the truth over data")
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    start = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {what}", file=sys.stderr, flush=True)

    lines: list[tuple[str, ...]] = []
    for name, problem in PROBLEMS.items():
        lines += lines_of(problem, name, options, tell)
        options.out.write_text(page(lines, options))
    print(options.out.read_text())


def page(lines: list[tuple[str, ...]], options: argparse.Namespace) -> str:
    head = ("", "over", *(f"{100 * level:.0f} %" for level in LEVELS), "width", "bias")
    return f"""# Coverage of intervals of importances

Written by `python -m benchmarks.coverage`. Per cent of intervals that contain the truth, over {len(WEIGHTS)} columns
and {options.sets} data sets of {N} rows ({options.few} over explanation and model), and the error of that figure.
Width: of the middle one of the 95 % intervals, as a multiple of what an interval has that knows the spread of the
estimate over data sets. Bias: of the column with the largest, the distance of the mean estimate from the truth, in
units of that spread.

In italics what `refit_importances` does not do, for comparison. Folds for resamples: each training and the rows that
it has not seen as one fold, with the correction of Nadeau and Bengio, `1 / J + n_2 / n_1`. Bootstrap: {DRAWS}
trainings on {N} rows drawn with replacement, explained on the rows that were not drawn; its truth is that of trainings
on {N} different rows.

{table(head, lines)}
"""


if __name__ == "__main__":
    main()
