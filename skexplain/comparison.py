"""compare: networks, forests and any other estimator under one protocol."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_consistent_length

from ._agreement import RankCorrelation, correlate, standard_error
from ._columns import Groups, column_names, resolve_groups
from ._fold import Fold, run_fold
from ._jobs import in_turn
from ._subject import seed_of
from .exceptions import InterruptedWarning

if TYPE_CHECKING:
    import pandas as pd

#: Scorers that cannot exceed 1, so neither may their intervals.
AT_MOST_ONE = ("accuracy", "average_precision", "balanced_accuracy", "f1", "f1_macro", "r2", "roc_auc")
KINDS = ("importances", "permutation")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores and importances of several models on the same folds.

    Attributes
    ----------
    models : tuple of str
    names : tuple of str
        Columns or groups.
    scoring : str
        The scorer's name.
    scores : ndarray of shape (n_models, n_folds)
        Scores on the held-out rows.
    importances : ndarray of shape (n_models, n_folds, n_features)
        The model's own importances, each with sum 1, measured on training rows as each model defines them;
        NaN for models without, see ``notes``. The sum is less where a pipeline's steps combine columns, such as in
        products, and shares belong to several of them: the rest is in ``notes`` too.
    permutation : ndarray of shape (n_models, n_folds, n_features)
        Fall of the score when a column is shuffled among the held-out rows, measured alike for all models.
        Signed: an unused column scatters around 0.
    correlations : tuple of RankCorrelation
        For every pair of models and both kinds of importances.
    test_ratio : float
        Held-out rows of a fold divided by its training rows.
    n_rows, random_state : int
    notes : dict of str to str
        Why a model has no importances of its own, or what part of them belongs to no single column.
    """

    models: tuple[str, ...]
    names: tuple[str, ...]
    scoring: str
    scores: NDArray
    importances: NDArray
    permutation: NDArray
    test_ratio: float
    n_rows: int
    random_state: int
    notes: Mapping[str, str] = field(default_factory=dict)
    correlations: tuple[RankCorrelation, ...] = ()

    def mean(self, kind: str = "importances") -> NDArray:
        """Mean over folds: ``(n_models, n_features)``, for ``kind="scores"`` ``(n_models,)``."""
        return self._of(kind).mean(axis=1)

    def error(self, kind: str = "importances") -> NDArray:
        """Standard error of `mean`, corrected after Nadeau and Bengio for training sets that overlap."""
        return standard_error(self._of(kind), self.test_ratio)

    @property
    def score_intervals(self) -> NDArray:
        """95 % intervals of the mean scores, ``(n_models, 2)``: Student's t with the corrected error."""
        J = self.scores.shape[1]
        if J < 2:
            return np.full((len(self.models), 2), np.nan)
        half = stats.t.ppf(0.975, J - 1) * self.error("scores")
        most = 1.0 if self.scoring in AT_MOST_ONE else np.inf
        return np.stack([self.mean("scores") - half, np.minimum(self.mean("scores") + half, most)], axis=1)

    @property
    def ranking(self) -> NDArray:
        """Indices of the columns by their mean share over models and both kinds, most important first."""
        own = self.mean("importances")
        loss = np.maximum(self.mean("permutation"), 0)
        loss = loss / np.maximum(loss.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        shares = np.concatenate([own[~np.isnan(own).any(axis=1)], loss])
        return np.argsort(-shares.mean(axis=0), kind="stable")

    def overlap(self, k: int, kind: str = "importances") -> NDArray:
        """Columns that two models share among their ``k`` most important: ``(n_models, n_models)``."""
        if not 1 <= k <= len(self.names):
            raise ValueError(f"k={k} must be between 1 and the number of columns, {len(self.names)}.")
        top = [set(np.argsort(-m, kind="stable")[:k]) for m in self.mean(kind)]
        return np.array([[len(a & b) for b in top] for a in top])

    def to_frame(self, kind: Literal["importances", "scores", "correlations"] = "importances") -> pd.DataFrame:
        """Tidy: a line for each column, model and kind of importance; or for each score or correlation.

        Parameters
        ----------
        kind : {"importances", "scores", "correlations"}
        """
        import pandas as pd

        if kind == "scores":
            folds = np.arange(self.scores.shape[1])
            lines = [(m, k, self.scores[i, k]) for i, m in enumerate(self.models) for k in folds]
            return pd.DataFrame(lines, columns=["model", "fold", self.scoring])
        if kind == "correlations":
            return pd.DataFrame([vars(c) for c in self.correlations])
        if kind != "importances":
            raise ValueError(f"kind={kind!r}; choose 'importances', 'scores' or 'correlations'.")
        frames = []
        for measure in KINDS:
            mean, error = self.mean(measure), self.error(measure)
            for i, model in enumerate(self.models):
                if np.isnan(mean[i]).any():
                    continue
                frame = {"feature": self.names, "model": model, "kind": measure, "mean": mean[i], "error": error[i]}
                frames.append(pd.DataFrame(frame).assign(rank=stats.rankdata(-mean[i], method="min").astype(int)))
        position = {self.names[j]: r for r, j in enumerate(self.ranking)}
        table = pd.concat(frames)
        return table.sort_values("feature", key=lambda f: f.map(position), kind="stable").reset_index(drop=True)

    def plot(self, ax: Any = None, *, path: Any = None, max_display: int = 15) -> Any:
        """Draw the importances side by side; see `skexplain.plotting.comparison`."""
        from .plotting import comparison

        return comparison(self, ax=ax, path=path, max_display=max_display)

    def __repr__(self) -> str:
        from ._comparison_text import comparison_text

        return comparison_text(self)

    def _repr_html_(self) -> str:
        from ._comparison_text import comparison_html

        return comparison_html(self)

    def _of(self, kind: str) -> NDArray:
        if kind not in (*KINDS, "scores"):
            raise ValueError(f"kind={kind!r}; choose 'importances', 'permutation' or 'scores'.")
        return getattr(self, kind)


def compare(
    models: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    scoring: str | Callable | None = None,
    groups: Groups | None = None,
    feature_names: Sequence[str] | None = None,
    n_repeats: int = 5,
    random_state: Any = 0,
    n_jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Train several models on the same folds and set their scores and importances side by side.

    Parameters
    ----------
    models : dict of str to estimator
        All classifiers or all regressors: networks of this library, forests, pipelines, anything of
        scikit-learn's. They are cloned; a ``random_state`` of None, also inside of pipelines, is set.
    X : array-like or DataFrame of shape (n, n_columns)
    y : array-like of shape (n,)
    cv : int, splitter or iterable of splits, default=5
        The splits are made once. A number: shuffled folds, stratified for classifiers.
    scoring : str or callable, default=None
        Any scikit-learn scorer, for the scores and for the permutation importance. None: accuracy or R².
    groups : dict of str to list of columns, default=None
        Columns that count as one, for every model alike; columns not named stay alone.
    feature_names : sequence of str, default=None
        Names of the columns, if X has none.
    n_repeats : int, default=5
        Shuffles of each column on each fold; the same shuffles for every model.
    random_state : int, RandomState or None, default=0
    n_jobs : int, default=None
        Fits at the same time, in processes that share the processors among them, as in scikit-learn.
    progress : callable, default=None
        ``progress(done, total, what)``, called before each fit, or before it is waited for, and at the end.

    Returns
    -------
    Comparison
        After Ctrl-C of the folds that were done, with an `InterruptedWarning`.

    Raises
    ------
    ValueError
        When classifiers and regressors are mixed, y has one class, a class has fewer rows than there are folds,
        a group names no column, a fold holds out fewer than 2 rows, the scorer cannot score y, a model cannot be
        pickled for ``n_jobs``, and all that scikit-learn and the models refuse.

    Notes
    -----
    Two importances are compared. The models' *own* answer different questions in different units (a forest: the
    fall of impurity on training rows, which favours columns with many distinct values; a network: how far a column
    moves the output), so only their shares and ranks are comparable. The *permutation* importance asks every model the
    same question on the held-out rows, in units of the score.

    Standard errors and the intervals of scores use the correction of Nadeau and Bengio, ``s² (1/J + n_test/n_train)``
    for J folds, because the folds' training sets overlap. The intervals of rank correlations come from 1000 bootstrap
    samples of the folds, the same for both models, whose deviations from the mean are widened to that same variance:
    the estimate plus and minus Student's t times their spread, on Fisher's scale. They say how far another training set
    would move the agreement on *these* columns. Importances that are mostly noise agree less than the models
    do, whatever the interval; more folds and repeats lift the correlation towards the truth.

    References
    ----------
    C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> models = {"forest": RandomForestClassifier(20), "extra": ExtraTreesClassifier(20)}
    >>> result = skexplain.compare(models, X, y, cv=3)
    >>> result.names[result.ranking[0]]
    'petal width (cm)'
    >>> result.permutation.shape
    (2, 3, 4)
    """
    classification = _task(models)
    X, y = _rows(X, y, classification)
    names = tuple(column_names(X, feature_names, None, X.shape[1]))
    features, _ = resolve_groups(groups, names)
    scoring = ("accuracy" if classification else "r2") if scoring is None else scoring
    _check_scoring(scoring, X, y, classification)
    seed = seed_of(None, random_state)
    if not 0 <= seed < 2**32:
        raise ValueError(f"random_state={seed} must be between 0 and {2**32 - 1}.")
    splits = _splits(cv, X, y, classification, seed)
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(len(splits)) >> 1]
    results: dict[str, list[Fold]] = {name: [] for name in models}
    total = len(models) * len(splits)
    pairs = zip(splits, seeds, strict=True)
    tasks = [(model, X, y, split, fold_seed) for split, fold_seed in pairs for model in models.values()]
    run = partial(run_fold, names=names, groups=groups, scoring=scoring, n_repeats=n_repeats)
    folds = in_turn(n_jobs, run, tasks)
    done = 0
    try:
        for done in range(total):
            k, name = done // len(models), list(models)[done % len(models)]
            if progress is not None:
                progress(done, total, f"{name}, fold {k + 1} of {len(splits)}")
            results[name].append(next(folds))
    except KeyboardInterrupt:
        whole = done // len(models)  # folds that every model has finished
        if whole == 0:
            raise
        message = f"Interrupted: {whole} of {len(splits)} folds are done."
        warnings.warn(message, InterruptedWarning, stacklevel=2)
        splits, results = splits[:whole], {name: folds_of[:whole] for name, folds_of in results.items()}
    if progress is not None:
        progress(total, total, "rank correlations")
    of_models = list(results.values())
    test_ratio = float(np.mean([len(test) / len(train) for train, test in splits]))
    importances = np.array([[f.own for f in model] for model in of_models])
    permutation = np.array([[f.permutation for f in model] for model in of_models])
    notes = {name: next((f.note for f in model if f.note), "") for name, model in results.items()}
    return Comparison(
        models=tuple(map(str, models)),
        names=features,
        scoring=scoring if isinstance(scoring, str) else getattr(scoring, "__name__", str(scoring)),
        scores=np.array([[f.score for f in model] for model in of_models]),
        importances=importances,
        permutation=permutation,
        test_ratio=test_ratio,
        n_rows=len(y),
        random_state=seed,
        notes={name: note for name, note in notes.items() if note},
        correlations=(
            *correlate("importances", tuple(models), importances, test_ratio, seed),
            *correlate("permutation", tuple(models), permutation, test_ratio, seed),
        ),
    )


def _task(models: Any) -> bool:
    """Whether all models are classifiers."""
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models={models!r}; pass a dict from names to estimators with at least one entry.")
    kinds = {}
    for name, model in models.items():
        if not hasattr(model, "fit") or isinstance(model, type):
            raise ValueError(f"models[{name!r}]={model!r} is not an estimator; pass an object with `fit`.")
        if not (is_classifier(model) or is_regressor(model)):
            raise ValueError(
                f"models[{name!r}] is a {type(model).__name__}, which scikit-learn sees neither as a classifier nor as "
                "a regressor; let its class inherit from ClassifierMixin or RegressorMixin."
            )
        kinds[name] = is_classifier(model)
    if len(set(kinds.values())) > 1:
        some = {kind: next(n for n, k in kinds.items() if k is kind) for kind in (True, False)}
        raise ValueError(
            f"models mixes classifiers and regressors: {some[True]!r} is a classifier, {some[False]!r} a regressor. "
            "Compare one kind at a time."
        )
    return next(iter(kinds.values()))


def _rows(X: Any, y: Any, classification: bool) -> tuple[Any, NDArray]:
    if sparse.issparse(X):
        raise ValueError("X is sparse; pass X.toarray().")
    X = X if hasattr(X, "iloc") else np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimension(s); pass rows and columns, (n, n_columns).")
    if 0 in X.shape:
        raise ValueError(f"X has the shape {X.shape}; at least one row and one column are needed.")
    y = check_array(y, ensure_2d=False, dtype=None if classification else "numeric", input_name="y")
    y = column_or_1d(y) if classification or (y.ndim == 2 and y.shape[1] == 1) else y
    check_consistent_length(X, y)
    if classification:
        check_classification_targets(y)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(f"y has only one class, {classes.tolist()}; a classifier needs at least two.")
    return X, y


def _check_scoring(scoring: str | Callable, X: Any, y: NDArray, classification: bool) -> None:
    """Refuse a scorer that does not exist, or does not fit y, before anything is trained."""
    scorer = get_scorer(scoring)
    if not isinstance(scoring, str):
        return  # the caller's own may ask for more than a dummy has
    dummy, usual = (DummyClassifier(), "accuracy") if classification else (DummyRegressor(), "r2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scorer(dummy.fit(X, y), X, y)
        except ValueError as exc:
            kind, why = "a classifier" if classification else "a regressor", str(exc).rstrip(".")
            raise ValueError(
                f"scoring={scoring!r} cannot score {kind} on this y: {why}. Use for instance {usual!r}."
            ) from exc


def _splits(cv: Any, X: Any, y: NDArray, classification: bool, seed: int) -> list[tuple[NDArray, NDArray]]:
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        if cv < 2:
            raise ValueError(f"cv={cv}; at least 2 folds are needed.")
        if cv > _num_samples(X):
            raise ValueError(f"cv={cv} is more than the {_num_samples(X)} rows; use fewer folds.")
        if classification:
            classes, members = np.unique(y, return_counts=True)
            if members.min() < cv:
                rare = classes[members.argmin()]
                rare = rare.item() if hasattr(rare, "item") else rare
                raise ValueError(
                    f"cv={cv} needs at least {cv} rows of every class, but class {rare!r} has {members.min()}; use "
                    "fewer folds, or drop or merge the class."
                )
        splitter = (StratifiedKFold if classification else KFold)(int(cv), shuffle=True, random_state=seed)
    else:
        splitter = check_cv(cv, y, classifier=classification)
    splits = [(np.asarray(train), np.asarray(test)) for train, test in splitter.split(X, y)]
    for k, (_, test) in enumerate(splits, 1):
        if len(test) < 2:
            raise ValueError(
                f"cv={reprlib.repr(cv)} holds out {len(test)} row(s) in fold {k}; at least 2 are needed for r2, and to "
                "shuffle a column among them. Use fewer folds, such as cv=5."
            )
    return splits
