"""Part one: are the columns found that the target was made of?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from skexplain.datasets import (
    make_additive,
    make_correlated_blocks,
    make_friedman1,
    make_gaussian,
    make_interactions,
    make_linear,
    make_moons,
    make_xor,
)
from skexplain.metrics import no_model_importances, recovery

from . import _peers
from ._networks import NETWORKS, ask
from ._record import Record, generator, standardised, timed

ROWS, COLUMNS = 1000, 50
#: Share of the rows that models are not trained on: the strategies that ask rows ask these.
ASKED = 0.2
SIGNALS = ("linear", "interactions", "both", "relu", "logistic")
#: Those with most columns, which take the longest, first.
DATA: dict[str, Callable[..., Bunch]] = {
    "Friedman 1, p = 200": partial(make_friedman1, n_features=200),
    "linear": partial(make_linear, n_features=COLUMNS),
    "XOR": partial(make_xor, n_features=COLUMNS),
    "additive": partial(make_additive, n_features=COLUMNS),
    "interactions": partial(make_interactions, n_features=COLUMNS),
    "moons": partial(make_moons, n_features=COLUMNS),
    **{f"blocks, {s}": partial(make_correlated_blocks, n_features=COLUMNS, signal=s) for s in SIGNALS},
    "Gaussian, p = 5": make_gaussian,
}
CONTROLS = ("no model", "random order")
LASSONET = "LassoNet"
NOT_INSTALLED = "not installed: pip install --no-deps lassonet sortedcontainers"


def job(name: str, draw: int, rows: int = ROWS) -> list[Record]:
    """Every method on one draw of a data set."""
    data = DATA[name](rows, random_state=draw)
    y = data.target
    train, asked = train_test_split(
        np.arange(rows), test_size=ASKED, stratify=y if y.dtype.kind in "iu" else None, random_state=draw
    )
    split = standardised(data.data, y, train, asked)

    def record(model: str, method: str, values: NDArray | str, seconds: float, **more: Any) -> Record:
        if isinstance(values, str):
            return Record("recovery", name, draw, model, method, seconds=seconds, remark=values, **more)
        found = recovery(values, data.important)
        return Record(
            "recovery", name, draw, model, method, auc=found.auc, best_p=found.best_p, seconds=seconds, **more
        )

    records = []
    for model, make in NETWORKS.items():
        net, trained, answers = ask(make, split, draw)
        score = float(net.score(split.X_other, split.y_other))
        records += [record(model, k, *answer, score=score, trained=trained) for k, answer in answers.items()]
    trees, trained = timed(lambda: _peers.forest(split.labels, draw).fit(split.X, split.y))
    score = float(trees.score(split.X_other, split.y_other))
    for method, measure in _peers.FOREST.items():
        values, seconds = timed(lambda measure=measure: measure(trees, split, draw))
        records.append(record("RandomForest", method, values, seconds, score=score, trained=trained))
    if _peers.HAS_LASSONET:
        (values, net), seconds = timed(lambda: _peers.lasso_net(split, draw))
        records.append(record(LASSONET, "path", values, seconds, score=_peers.lasso_net_score(net, split)))
    else:
        records.append(record(LASSONET, "path", NOT_INSTALLED, 0.0))
    without, seconds = timed(lambda: no_model_importances(split.X, split.y))
    random = generator(name, draw).random(split.X.shape[1])
    for method, values in zip(CONTROLS, (without, random), strict=True):
        records.append(record("control", method, values, seconds if method == "no model" else 0.0))
    return records
