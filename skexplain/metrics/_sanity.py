"""sanity_check: cheap questions that importances must answer before they are believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_scalar

from .._clone import seeded
from .._columns import rows_of
from .._subject import BACKGROUND_ROWS, seed_of
from ..attributions._registry import get_attribution
from ..exceptions import CompletenessError, UnsupportedModelError
from ._randomised import randomised
from ._stability import spearman
from ._trained import fitted, last_step, measured, table

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["pass", "caution", "fail", "not run"]
#: Held-out rows that importances are measured on.
ROWS = 500
#: Networks with random weights, and backgrounds, that are tried; neither takes a training.
TRIED = 5
#: Rank correlation with importances of a network that knows nothing, above which these are called alike; above the
#: first, shares that move less than `MOVED` are called unchanged.
UNCHANGED, ALIKE, MOVED = 0.9, 0.5, 0.05
#: Part of the shares that may move between backgrounds to be called steady, and that may move at all.
STEADY, SHAKY = 0.1, 0.25


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name : str
    verdict : {"pass", "caution", "fail", "not run"}
    measured : float
        NaN where it was not run.
    why : str
    """

    name: str
    verdict: Verdict
    measured: float
    why: str


@dataclass(frozen=True)
class SanityReport:
    """What `sanity_check` found.

    Attributes
    ----------
    strategy : str
    checks : tuple of Check
    n_fits : int
        Trainings that it took, without those of a strategy that trains itself.
    """

    strategy: str
    checks: tuple[Check, ...]
    n_fits: int

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(c.verdict != "fail" for c in self.checks)

    def __getitem__(self, name: str) -> Check:
        """The check of this name."""
        found = {c.name: c for c in self.checks}
        if name not in found:
            raise KeyError(f"There is no check {name!r}; checks are {list(found)}.")
        return found[name]

    def to_frame(self) -> pd.DataFrame:
        """One line a check."""
        import pandas as pd

        return pd.DataFrame([vars(c) for c in self.checks])

    def __repr__(self) -> str:
        wide = max(len(c.name) for c in self.checks)
        lines = [f"Sanity checks of {self.strategy}, {self.n_fits} trainings"]
        for c in self.checks:
            number = "" if np.isnan(c.measured) else f"{c.measured:.2f}"
            lines.append(f"  {c.name.ljust(wide)}  {c.verdict.ljust(7)}  {number.rjust(5)}  {c.why}")
        return "\n".join(lines)


def sanity_check(
    estimator: Any, X: Any, y: ArrayLike, *, attribution: Any = None, n_repeats: int = 3, random_state: Any = 0
) -> SanityReport:
    """Questions with known answers, put to a kind of network, its data and a strategy.

    Passing proves nothing right; failing proves something wrong.

    Parameters
    ----------
    estimator : estimator or Pipeline
        A network of this library, skorch, scikeras or scikit-learn's MLPs, fitted or not: clones are trained.
    X : array-like or DataFrame of shape (n, n_columns)
    y : array-like of shape (n,)
    attribution : str or object, default=None
        Strategy. None: the estimator's own if it has one, else ``"expected_gradients"``.
    n_repeats : int, default=3
        Trainings for each of the three checks that train.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    SanityReport
        Checks that do not apply, or that the estimator refuses, are "not run", with the reason.

    Raises
    ------
    UnsupportedModelError
        For what cannot be trained anew, and for a strategy that cannot explain the network.
    CompletenessError
        When the strategy adds up and its values for the network do not.
    ValueError
        When X is no table of two or more columns, y has a single class, and all that the estimator refuses.

    Notes
    -----
    Clones are trained on three quarters of the rows; importances are shares of up to 500 of the others.

    * *weight randomisation*: mean rank correlation with the importances of five networks whose trained arrays are
      normal draws of the same size. A strategy whose shares are the same for all weights (correlation above 0.9, and
      less than 5 % of the shares moved) does not look at the network: a fail, not a score. Above 0.5 a caution: the
      scales of the columns, rather than what was learned, decide.
    * *label permutation*: the same, with clones trained on shuffled labels.
    * *random probe*: a column of shuffled values is added before training; the share of the columns above it. A fail if
      the probe is above all columns, a caution if it has more than an even share.
    * *duplicated column*: the most important column is added a second time. Measured: the share of both together
      divided by that of the one before. Near 0 is a fail, for who reads the importances then thinks that what it says
      is not needed; less than half or more than double, or one of the two with less than a twentieth of it, a caution.
    * *background*: the largest part of the shares that stands elsewhere with another of five random backgrounds of at
      most 50 rows. Caution from 10 %, fail from 25 %. Not a rank correlation, which the order of columns that hardly
      matter would decide.

    Rank correlations between few columns are coarse; more repeats make them finer. Cost: ``1 + 3 n_repeats`` trainings,
    for small tables seconds to a minute; for strategies that train themselves, such as LOCO, as many times all theirs.

    References
    ----------
    J. Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018 (weights, labels).
    H. Stoppiglia, G. Dreyfus, R. Dubois, Y. Oussar, "Ranking a random feature for variable and feature selection", JMLR
    3, 2003 (probe).

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> import skexplain
    >>> data = skexplain.datasets.make_linear(300, random_state=0)
    >>> net = MLPRegressor(max_iter=500, solver="lbfgs")
    >>> report = skexplain.sanity_check(net, data.data, data.target, n_repeats=1)
    >>> report.passed, report.n_fits
    (True, 4)
    >>> report["weight randomisation"].verdict
    'pass'
    """
    X, y = table(estimator, X, y)
    check_scalar(n_repeats, "n_repeats", Integral, min_val=1)
    seed = seed_of(None, random_state)
    asked = _Asked(estimator, X, y, attribution, int(n_repeats), seed)
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("weight randomisation", asked.weights),
        ("label permutation", asked.labels),
        ("random probe", asked.probe),
        ("duplicated column", asked.duplicate),
        ("background", asked.background),
    )
    done = []
    for name, check in checks:
        try:
            done.append(check())
        except (CompletenessError, UnsupportedModelError, ValueError, RuntimeError, LookupError) as exc:
            # refused by the estimator or the strategy, such as another number of columns
            done.append(Check(name, "not run", float("nan"), " ".join(str(exc).split())))
    return SanityReport(str(asked.strategy), tuple(done), asked.n_fits)


class _Asked:
    """An estimator, its data and a strategy; the importances of one clone as they are."""

    def __init__(self, estimator: Any, X: Any, y: NDArray, attribution: Any, n_repeats: int, seed: int) -> None:
        own = getattr(last_step(estimator), "attribution", None) or "expected_gradients"
        self.strategy = get_attribution(own if attribution is None else attribution)
        self.estimator = seeded(estimator, seed % 2**31)
        last = last_step(self.estimator)
        if "attribution" in last.get_params(deep=False):
            last.set_params(attribution=self.strategy)  # some watch the training
        self.X, self.y, self.n_repeats, self.seed, self.n_fits = X, y, n_repeats, seed, 0
        self.rng = np.random.default_rng(seed)
        classes = (
            y if is_classifier(estimator) and y.ndim == 1 and np.unique(y, return_counts=True)[1].min() > 1 else None
        )
        rows = np.arange(len(y))
        self.train, held_out = train_test_split(rows, test_size=0.25, random_state=seed % 2**31, stratify=classes)
        self.test = np.sort(held_out[:ROWS])
        self.model = self._fit(X, y)
        self.before = self._measure(self.model)

    def _fit(self, X: Any, y: NDArray) -> Any:
        self.n_fits += 1
        return fitted(seeded(self.estimator, self.seed % 2**31), rows_of(X, self.train), y[self.train])

    def _measure(self, model: Any, X: Any = None, y: Any = None, background: NDArray | None = None) -> NDArray:
        X, y = self.X if X is None else X, self.y if y is None else y
        some = rows_of(X, self.train[:BACKGROUND_ROWS] if background is None else background)
        return measured(model, rows_of(X, self.test), y[self.test], self.strategy, self.seed, some)

    def _needs(self, **needs: str) -> None:
        for need, why in needs.items():
            if getattr(self.strategy, need, False):
                raise UnsupportedModelError(f"{self.strategy} {why}")

    def weights(self) -> Check:
        self._needs(
            needs_estimator="trains anew, whatever the weights",
            needs_training="is read off the training, not off the weights",
        )
        others = [self._measure(randomised(self.model, self.rng)) for _ in range(TRIED)]
        return _knows_nothing("weight randomisation", self.before, others, "random weights")

    def labels(self) -> Check:
        others = []
        for _ in range(self.n_repeats):
            y = self.rng.permutation(self.y)  # also those that are held out, on which some strategies train
            others.append(self._measure(self._fit(self.X, y), y=y))
        return _knows_nothing("label permutation", self.before, others, "shuffled labels")

    def probe(self) -> Check:
        d, shares = self.X.shape[1], []
        # a category would have to be named to the estimator
        kinds = [t.kind in "biuf" for t in self.X.dtypes] if hasattr(self.X, "iloc") else [True] * d
        numbers = np.flatnonzero(kinds) if any(kinds) else np.arange(d)
        for _ in range(self.n_repeats):
            X = _added(self.X, int(self.rng.choice(numbers)), self.rng.permutation(len(self.y)), "random probe")
            shares.append(_with_column(self._measure(self._fit(X, self.y), X), d + 1))
        mean = np.mean(shares, axis=0)
        *columns, probe = mean
        above = float(np.mean(np.array(columns) > probe))
        why = f"{round(above * d)} of {d} columns are above a column of shuffled values"
        if above == 0:
            return Check("random probe", "fail", above, f"no column of {d} is above a column of shuffled values")
        return Check("random probe", "caution" if probe > 1 / (d + 1) else "pass", above, why)

    def duplicate(self) -> Check:
        d, j = self.X.shape[1], int(self.before.argmax())
        if not self.before[j] > 0:
            return Check("duplicated column", "fail", float("nan"), "all importances are 0")
        X = _added(self.X, j, np.arange(len(self.y)), "copy")
        shares = [_with_column(self._measure(self._fit(X, self.y), X), d + 1) for _ in range(self.n_repeats)]
        pair = np.mean(shares, axis=0)[[j, d]] / self.before[j]
        both = float(pair.sum())
        if both < 0.1:
            return Check("duplicated column", "fail", both, "a column and its copy both lose what the column had alone")
        if not 0.5 <= both <= 2:
            return Check("duplicated column", "caution", both, "a column and its copy together do not have its share")
        if pair.min() < 0.05 * both:
            return Check("duplicated column", "caution", both, "of a column and its copy one has nearly all")
        return Check("duplicated column", "pass", both, "a column and its copy share what the column had alone")

    def background(self) -> Check:
        self._needs(needs_estimator="compares with no background", needs_training="compares with no background")
        order = self.rng.permutation(self.train)
        size = min(50, max(2, len(order) // TRIED))
        parts = [order[np.arange(k * size, (k + 1) * size) % len(order)] for k in range(TRIED)]
        values = [self._measure(self.model, background=part) for part in parts]
        moved = max(_moved(a, b) for k, a in enumerate(values) for b in values[:k])
        why = f"of the shares {100 * moved:.0f} % move among {TRIED} backgrounds"
        if moved < STEADY:
            return Check("background", "pass", moved, why)
        return Check("background", "caution" if moved < SHAKY else "fail", moved, f"{why}; take more rows")


def _knows_nothing(name: str, before: NDArray, others: list[NDArray], what: str) -> Check:
    """Compare importances with those of networks that cannot know what matters."""
    r = float(np.mean([_correlation(before, other) for other in others]))
    moved = float(np.mean([_moved(before, other) for other in others]))
    if r > UNCHANGED and moved < MOVED:
        return Check(name, "fail", r, f"the importances are the same with {what}")
    if r > ALIKE:
        return Check(
            name, "caution", r, f"the order of the columns is much the same with {what}; compare column scales"
        )
    return Check(name, "pass", r, f"the order of the columns is another with {what}")


def _correlation(a: NDArray, b: NDArray) -> float:
    """Rank correlation; 1 for two orders that are all ties, 0 for one."""
    r = spearman(a, b)
    return float(np.ptp(a) == np.ptp(b) == 0) if np.isnan(r) else r


def _moved(a: NDArray, b: NDArray) -> float:
    """The part of the shares that stands elsewhere."""
    return float(np.abs(a - b).sum() / 2)


def _added(X: Any, j: int, order: NDArray, name: str) -> Any:
    """X with column j, in another order, behind the others."""
    if not hasattr(X, "iloc"):
        return np.concatenate([X, X[order][:, [j]]], axis=1)
    while name in X.columns:
        name += " (2)"
    column = X.iloc[order, j].set_axis(X.index)
    return X.assign(**{name: column})


def _with_column(shares: NDArray, d: int) -> NDArray:
    if len(shares) != d:
        raise ValueError(f"The estimator leaves out a column that is added: it has importances for {len(shares)}.")
    return shares
