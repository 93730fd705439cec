"""compare_methods: every strategy on one model, side by side."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.utils import check_scalar

from ._columns import Groups
from ._estimator import spread_rows
from ._explain import importances
from ._fold import ending_when_interrupted
from ._head import Output
from ._inputs import Inputs, is_several
from ._method_agreement import FAMILIES, MethodAgreement, agreements, consensus, family_of
from ._subject import seed_of, truth_of
from .attributions._registry import ATTRIBUTIONS, get_attribution, same
from .exceptions import CompletenessError, InterruptedWarning, UnsupportedModelError
from .explanation import Importances

if TYPE_CHECKING:
    import pandas as pd

#: What ``methods="all"`` changes, so that it ends while one waits: coarser sampling, fewer folds.
BOUNDED: dict[str, dict[str, Any]] = {
    "kernel_shap": {"tol": 0.05},
    "shapley_sampling": {"tol": 0.05},
    "sage": {"tol": 0.05},
    "loco": {"cv": 3},
    "conditional_permutation": {"cv": 3},
}
#: Most trainings that ``methods="all"`` does.
TRAININGS = 50
#: What a strategy raises that refuses.
REFUSALS = (ValueError, CompletenessError, UnsupportedModelError)


@dataclass(frozen=True, eq=False)
class MethodComparison:
    """Importances of one model by several strategies, on the same rows.

    Attributes
    ----------
    names : tuple of str
        Columns or groups.
    results : dict of str to Importances
        By the names of the strategies, those of a family one after the other.
    families : dict of str to str
        What each strategy measures; those of a family are variants of each other.
    seconds : dict of str to float
        What each took.
    refused : dict of str to str
        Strategies that gave nothing, and why.
    agreements : tuple of MethodAgreement
        For every pair of strategies.
    consensus : ndarray of shape (n_features,)
        Mean rank of each column, 1 the most important. Each family votes once, by the mean rank over its strategies:
        variants do not count double. Those that do not ask what the network does with the rows (weights, their
        training, attention, training anew) do not vote, unless there are no others.
    voters : tuple of str
        The families that voted.
    n_rows, random_state : int
    output : str
    """

    names: tuple[str, ...]
    results: Mapping[str, Importances]
    families: Mapping[str, str]
    seconds: Mapping[str, float]
    refused: Mapping[str, str]
    agreements: tuple[MethodAgreement, ...]
    consensus: NDArray
    voters: tuple[str, ...]
    n_rows: int
    random_state: int
    output: str
    _shares: NDArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shares", np.array([r.normalized for r in self.results.values()]))

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the strategies that gave importances."""
        return tuple(self.results)

    @property
    def shares(self) -> NDArray:
        """``(n_methods, n_features)``, each row with sum 1, or 0 if all are zero."""
        return self._shares.copy()

    @property
    def errors(self) -> NDArray:
        """Standard errors of `shares`, of the columns' values only; NaN where not known."""
        sums = [max(r.values.sum(), np.finfo(float).tiny) for r in self.results.values()]
        return np.array([r.error / total for r, total in zip(self.results.values(), sums, strict=True)])

    @property
    def kendall(self) -> NDArray:
        """Kendall's tau of every two strategies, ``(n_methods, n_methods)``."""
        return self._matrix("kendall")

    @property
    def allowed(self) -> NDArray:
        """The highest tau that noise allows, ``(n_methods, n_methods)``; see `MethodAgreement`."""
        return self._matrix("allowed")

    @property
    def ranking(self) -> NDArray:
        """Indices of the columns by `consensus`, most important first."""
        return np.lexsort([-self._shares.mean(axis=0), self.consensus])

    @property
    def cautions(self) -> tuple[str, ...]:
        """A sentence on every two strategies that disagree beyond their noise.

        Those of one family first, then those that vote, and the more the earlier.
        """

        def place(a: MethodAgreement) -> tuple[bool, bool, float]:
            of = self.families[a.first], self.families[a.second]
            return of[0] != of[1], not set(of) <= set(self.voters), a.allowed

        return tuple(self._caution(a) for a in sorted(self.agreements, key=place) if a.reversed)

    def to_frame(self, kind: Literal["importances", "methods", "agreements"] = "importances") -> pd.DataFrame:
        """Tidy: a line for each column and strategy; or for each strategy, or each two of them.

        Parameters
        ----------
        kind : {"importances", "methods", "agreements"}
        """
        import pandas as pd

        if kind == "methods":
            lines: list[tuple[Any, ...]] = [
                (m, self.families[m], self.seconds[m], relative_error(r), r.gap, None) for m, r in self.results.items()
            ]
            lines += [(m, family_of(m), self.seconds.get(m), None, None, why) for m, why in self.refused.items()]
            table = pd.DataFrame(lines, columns=["method", "family", "seconds", "error", "gap", "refused"])
            return table.astype({"seconds": float, "error": float, "gap": float})
        if kind == "agreements":
            return pd.DataFrame([vars(a) for a in self.agreements])
        if kind != "importances":
            raise ValueError(f"kind={kind!r}; choose 'importances', 'methods' or 'agreements'.")
        frames = []
        for k, (method, r) in enumerate(self.results.items()):
            frame: dict[str, Any] = {"feature": self.names, "method": method, "family": self.families[method]}
            frame |= {"share": self._shares[k], "value": r.values, "signed": r.signed, "error": r.error}
            frames.append(pd.DataFrame(frame).assign(rank=stats.rankdata(-measured(r), method="min").astype(int)))
        position = {self.names[j]: r for r, j in enumerate(self.ranking)}
        table = pd.concat(frames)
        return table.sort_values("feature", key=lambda f: f.map(position), kind="stable").reset_index(drop=True)

    @property
    def plot(self) -> Any:
        """Pictures: ``.plot.agreement()``, ``.plot.shares()``."""
        from .plotting import MethodsPlot

        return MethodsPlot(self)

    def __repr__(self) -> str:
        from ._methods_text import methods_text

        return methods_text(self)

    def _repr_html_(self) -> str:
        from ._methods_text import methods_html

        return methods_html(self)

    def _matrix(self, what: str) -> NDArray:
        place = {m: k for k, m in enumerate(self.results)}
        matrix = np.eye(len(place))
        for a in self.agreements:
            i, j = place[a.first], place[a.second]
            matrix[i, j] = matrix[j, i] = getattr(a, what)
        return matrix

    def _caution(self, a: MethodAgreement) -> str:
        above, below = a.example or ("", "")
        pairs = f"{a.reversed} of {a.n_pairs} pairs of columns" if a.reversed > 1 else "a pair of columns"
        family = self.families[a.first]
        kin = f", both of the family {family!r}," if family == self.families[a.second] else ""
        return (
            f"{a.first} and {a.second}{kin} disagree beyond their noise on {pairs} (tau {a.kendall:.2f}; noise allows "
            f"at most {a.allowed:.2f}): by {a.first} {above!r} matters more than {below!r}, by {a.second} less."
        )


def measured(result: Importances) -> NDArray:
    """Values that can be put in order: a fall of the score as measured, also below 0."""
    local = getattr(result.strategy, "local", hasattr(result.strategy, "attribute"))
    return result.values if local else result.signed


def relative_error(result: Importances) -> float:
    """Sum of the standard errors over the sum of the values."""
    total = result.values.sum()
    return float(result.error.sum() / total) if total > 0 else np.nan


def compare_methods(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    methods: Literal["all"] | Sequence[Any] = "all",
    background: Any = None,
    target: Any = "predicted",
    output: Output = "margin",
    groups: Groups | None = None,
    feature_names: Sequence[str] | None = None,
    max_rows: int | None = 300,
    random_state: Any = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> MethodComparison:
    """Explain one model by every strategy that applies to it, and say where they agree.

    To find out which columns a network uses whichever way one asks, and what the choice of a strategy costs.

    Parameters
    ----------
    model, background, target, output, groups, feature_names
        As in `explain`. ``target`` is that of the strategies that explain rows.
    X : array-like or DataFrame
        Rows to average over, best such that the model was not trained on.
    y : array-like of shape (n,), default=None
        True targets. None: strategies that compare with the truth are refused.
    methods : "all" or sequence of str and strategies, default="all"
        Names and objects, also several of one class with other parameters. "all": every registered strategy, those
        that sample with ``tol=0.05``, and LOCO with three folds if that is at most 50 trainings.
    max_rows : int or None, default=300
        At most so many rows of X, the same for all, spread evenly over y. None: all.
    random_state : int, RandomState or None, default=None
        Repeats the choice of rows and the strategies that draw. None: the model's own.
    progress : callable, default=None
        ``progress(done, total, what)``, called before each strategy and at the end.

    Returns
    -------
    MethodComparison
        After Ctrl-C with the strategies that were done, and an `InterruptedWarning`.

    Raises
    ------
    ValueError
        For an unknown strategy, and when every strategy refuses, with the first reason.

    See Also
    --------
    compare : several models, under one protocol.

    Notes
    -----
    Strategies answer different questions, which is what their *families* are: shares of the output
    (``expected_gradients``, Shapley values, ...), its slope, their product, what replacing a column does, the rise of
    the loss, what the weights look like. They may disagree and all be right. Two strategies **disagree beyond their
    noise** where both put two columns in order with certainty, and not in the same order. Certain is a difference of z
    standard errors, with z such that two strategies which measure the same are said to disagree with a probability of
    5 % at most, over all pairs of columns. Strategies without a known error are never certain.

    Cost: the sum of all. ``seconds`` include what is done once for a model, such as tracing it, in the strategy that
    comes first.

    References
    ----------
    J.-C. de Borda, "Memoire sur les elections au scrutin", 1781, for the mean rank.
    S. Krishna et al., "The Disagreement Problem in Explainable Machine Learning", 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
    >>> chosen = ["deepshap", "saliency", "permutation", "gradcam"]
    >>> result = skexplain.compare_methods(net, X, y, methods=chosen, random_state=0)
    >>> result.methods, list(result.refused)
    (('deepshap', 'saliency', 'permutation'), ['gradcam'])
    >>> result.kendall.shape
    (3, 3)
    """
    strategies = _strategies(methods, getattr(model, "attribution", None))
    seed = seed_of(model, random_state)
    X, y = _some_rows(X, y, max_rows, seed)
    kwargs = {"target": target, "output": output, "groups": groups, "feature_names": feature_names}
    results: dict[str, Importances] = {}
    seconds: dict[str, float] = {}
    refused: dict[str, str] = {}
    try:
        for done, (name, strategy) in enumerate(strategies.items()):
            if progress is not None:
                progress(done, len(strategies), name)
            start = time.perf_counter()
            try:
                if isinstance(methods, str):
                    _check_affordable(strategy, X)
                with ending_when_interrupted():
                    results[name] = importances(
                        model, X, y, attribution=strategy, background=background, random_state=seed, **kwargs
                    )
            except REFUSALS as exc:
                refused[name] = " ".join(str(exc).split())
            seconds[name] = time.perf_counter() - start
    except KeyboardInterrupt:
        if not results:
            raise
        missing = [name for name in strategies if name not in results and name not in refused]
        refused |= dict.fromkeys(missing, "It was interrupted, or not begun.")
        message = f"Interrupted: {len(results)} of {len(strategies)} strategies are done."
        warnings.warn(message, InterruptedWarning, stacklevel=2)
    if progress is not None:
        progress(len(strategies), len(strategies), "agreement")
    if not results:
        raise ValueError(
            f"No strategy gives importances of this model. By {next(iter(refused))!r}: {next(iter(refused.values()))}"
        )
    return _compared(results, seconds, refused, _n_rows(X), seed, output)


def _compared(
    results: dict[str, Importances],
    seconds: dict[str, float],
    refused: dict[str, str],
    n_rows: int,
    seed: int,
    output: str,
) -> MethodComparison:
    # some strategies see a pipeline's steps from the outside, and know no parts that belong to several columns at once
    names = min((r.names for r in results.values()), key=len)
    for name, r in list(results.items()):
        if len(r.names) > len(names):
            refused[name] = (
                f"Part of its importances belongs to several columns at once, such as {r.names[len(names)]!r}; pass "
                "groups= in which these are together."
            )
            del results[name]
    families = {name: family_of(_registered(r.strategy) or name) for name, r in results.items()}
    place = {family: k for k, family in enumerate(FAMILIES)}
    order = sorted(results, key=lambda m: place.get(families[m], len(place)))
    values = {m: measured(results[m]) for m in order}
    mean_rank, voters = consensus(values, families)
    errors = np.array([results[m].error for m in order])
    return MethodComparison(
        names=names,
        results={m: results[m] for m in order},
        families={m: families[m] for m in order},
        seconds=seconds,
        refused=refused,
        agreements=tuple(agreements(order, names, np.array(list(values.values())), errors)),
        consensus=mean_rank,
        voters=voters,
        n_rows=n_rows,
        random_state=seed,
        output=output,
    )


def _strategies(methods: Any, own: Any) -> dict[str, Any]:
    """Strategy objects by name; of "all" the model's own, if it has one, with the parameters that it has."""
    if isinstance(methods, str):
        if methods != "all":
            raise ValueError(f"methods={methods!r}; pass 'all', or a list such as [{methods!r}].")
        return {n: own if type(own) is kind else kind(**BOUNDED.get(n, {})) for n, kind in ATTRIBUTIONS.items()}
    objects = [get_attribution(m) for m in methods]
    if not objects:
        raise ValueError(f"methods={methods!r} is empty; pass 'all', or names such as ['deepshap', 'permutation'].")
    result = {}
    for given, strategy in zip(methods, objects, strict=True):
        name = given if isinstance(given, str) else _default_name(strategy)
        if name in result:
            raise ValueError(f"methods names {name!r} twice; pass each strategy once, or with other parameters.")
        result[name] = strategy
    return result


def _registered(strategy: Any) -> str | None:
    """Name under which the class of a strategy is registered."""
    return next((name for name, kind in ATTRIBUTIONS.items() if type(strategy) is kind), None)


def _default_name(strategy: Any) -> str:
    """The registered name of an object with default parameters, otherwise what it looks like."""
    name = _registered(strategy)
    return name if name is not None and same(strategy, ATTRIBUTIONS[name]()) else " ".join(repr(strategy).split())


def _check_affordable(strategy: Any, X: Any) -> None:
    if not getattr(strategy, "needs_estimator", False):
        return
    n_trainings = strategy.n_fits(int(np.prod(np.shape(X)[1:])))
    if n_trainings > TRAININGS:
        raise ValueError(
            f"It trains {n_trainings} times, and methods='all' at most {TRAININGS} times. Name it in methods=."
        )


def _some_rows(X: Any, y: Any, most: int | None, seed: int) -> tuple[Any, Any]:
    """At most so many rows, spread evenly over y."""
    n = _n_rows(X)
    if most is None:
        return X, y
    check_scalar(most, "max_rows", Integral, min_val=1)
    if n <= most:
        return X, y
    truth = None if y is None else truth_of(y, n)
    rows = spread_rows(np.zeros(n) if truth is None else truth, int(most), np.random.default_rng(seed))
    return _at(X, rows), None if truth is None else truth[rows]


def _n_rows(X: Any) -> int:
    if is_several(X):
        return len(Inputs.of(X).table(X))
    return X.shape[0] if hasattr(X, "shape") else len(X)


def _at(X: Any, rows: NDArray) -> Any:
    if isinstance(X, Mapping):
        return {key: _at(part, rows) for key, part in X.items()}
    if is_several(X):
        return tuple(_at(part, rows) for part in X)
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows] if hasattr(X, "shape") else np.asarray(X)[rows]
