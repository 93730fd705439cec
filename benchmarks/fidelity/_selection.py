"""Part two: columns are added to real data; how good is a model on the columns that a method chose?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.linear_model import LassoCV, LogisticRegression
from sklearn.model_selection import train_test_split

from skexplain.datasets import add_spurious
from skexplain.metrics import recovery

from . import _peers
from ._networks import DEFAULT, default_network, plain_mlp
from ._record import Record, Split, generator, standardised, timed

#: With most columns, so the longest, first.
LOADED = ("digits", "breast_cancer", "wine", "diabetes")
KINDS, FRACTIONS = ("random", "corrupted", "second_order"), (0.5, 0.75)
#: Most rows of a draw: with all 1797 the digits are read well whatever was chosen.
ROWS = 600
#: Share of the rows that neither rank columns nor train.
JUDGING = 0.25
DATA = {f"{n}, {k}, {f:.0%}": (n, k, f) for n, k, f in product(LOADED, KINDS, FRACTIONS)}
ALL, ORIGINAL, RANDOM = "all columns", "the original columns", "random columns"
NETWORK, NETWORK_PERMUTATION = f"default network, {DEFAULT}", "default network, permutation"
PLAIN = f"plain MLP, {DEFAULT}"
UNIVARIATE, L1, FOREST, DEEP_LASSO = "univariate F", "L1", "forest, MDI", "Deep Lasso"


def univariate(split: Split, seed: int) -> NDArray:
    scores = SelectKBest(f_classif if split.labels else f_regression, k="all").fit(split.X, split.y).scores_
    return np.nan_to_num(scores)  # of constant columns


def l1(split: Split, seed: int) -> NDArray:
    """Largest coefficient of a column over the classes."""
    if split.labels:
        model: Any = LogisticRegression(l1_ratio=1, solver="saga", tol=1e-2, max_iter=1000, random_state=seed)
    else:
        model = LassoCV(cv=3, random_state=seed)
    return np.abs(np.atleast_2d(model.fit(split.X, split.y).coef_)).max(axis=0)


def trees(split: Split, seed: int) -> NDArray:
    return _peers.forest(split.labels, seed).fit(split.X, split.y).feature_importances_


SELECTORS: dict[str, Callable[[Split, int], NDArray]] = {
    DEEP_LASSO: _peers.deep_lasso,
    FOREST: trees,
    L1: l1,
    UNIVARIATE: univariate,
}
#: By the importances that a network has of the rows trained on: maker and strategies.
NETWORKS: dict[tuple[str, ...], tuple[Callable[[bool, int], Any], tuple[str, ...]]] = {
    (NETWORK, NETWORK_PERMUTATION): (default_network, (DEFAULT, "permutation")),
    (PLAIN,): (plain_mlp, (DEFAULT,)),
}
METHODS = (*(name for names in NETWORKS for name in names), *SELECTORS)
JUDGES: dict[str, Callable[[bool, int], Any]] = {"plain MLP": plain_mlp, "RandomForest": _peers.forest}


def job(name: str, draw: int, rows: int = ROWS) -> list[Record]:
    """Every selection on one draw of a data set, a kind and a share of columns added."""
    loaded, kind, fraction = DATA[name]
    X, y = getattr(datasets, f"load_{loaded}")(return_X_y=True)
    rng = generator(name, draw)
    if len(y) > rows:
        some = np.sort(rng.permutation(len(y))[:rows])
        X, y = X[some], y[some]
    data = add_spurious(X, y, kind, fraction=fraction, random_state=draw)
    known, judging = train_test_split(
        np.arange(len(y)), test_size=JUDGING, stratify=y if y.dtype.kind in "iu" else None, random_state=draw
    )
    split, n = standardised(data.data, y, known, judging), X.shape[1]

    def score(make: Callable[[bool, int], Any], chosen: NDArray) -> float:
        part = split.columns(chosen)
        return float(make(split.labels, draw).fit(part.X, part.y).score(part.X_other, part.y_other))

    records = [
        Record("selection", name, draw, model, method, score=score(make, chosen))
        for method, chosen in {ALL: np.ones_like(data.important), ORIGINAL: data.important}.items()
        for model, make in JUDGES.items()
    ]
    rankings: dict[str, tuple[NDArray, float]] = {}
    for methods, (make, attributions) in NETWORKS.items():
        net, trained = timed(lambda make=make: make(split.labels, draw).fit(split.X, split.y))
        for method, attribution in zip(methods, attributions, strict=True):
            net.set_params(attribution=attribution)
            values, seconds = timed(lambda net=net: net.importances_.values)
            rankings[method] = values, trained + seconds
        if make is default_network:
            own = float(net.score(split.X_other, split.y_other))
            records.append(Record("selection", name, draw, "default network", ALL, score=own, seconds=trained))
    for method, rank in SELECTORS.items():
        rankings[method] = timed(lambda rank=rank: rank(split, draw))
    rankings[RANDOM] = rng.random(len(data.important)), 0.0
    for method, (values, seconds) in rankings.items():
        records += _judged(name, draw, method, values, seconds, data.important, n, rng, score)
    return records


def _judged(
    name: str,
    draw: int,
    method: str,
    values: NDArray,
    seconds: float,
    original: NDArray,
    n: int,
    rng: np.random.Generator,
    score: Callable[[Any, NDArray], float],
) -> list[Record]:
    """Scores with the n columns of highest value; of equal ones, each is as likely to be chosen."""
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.lexsort((rng.random(len(values)), -values))[:n]] = True
    found = recovery(values, original, selected=chosen)
    return [
        Record("selection", name, draw, m, method, found.auc, found.power, score(j, chosen), seconds)
        for m, j in JUDGES.items()
    ]
