"""Models beside a random forest, on the same folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from .._fitted import _Fitted
from ..comparison import Comparison, compare
from ..plotting import comparison, slope
from ._data import Data
from ._model import SHOWN, Chapter, check_width, last_of
from ._parts import Part, Picture, Table, picture

#: Trees, and shuffles of each column on each fold.
TREES, SHUFFLES = 100, 3
FOREST = "random forest"


class _Shares(NamedTuple):
    """What a slope chart needs of importances."""

    names: tuple[str, ...]
    normalized: NDArray


def beside_forest(
    chapters: Mapping[str, Chapter], data: Data, rows: str, cv: Any, seed: int
) -> tuple[Part, Comparison]:
    """The models that can be trained anew, and a forest unless there is one, on the same folds.

    Parameters
    ----------
    chapters : dict of str to Chapter
    data : Data
        To train and measure on.
    rows : str
        What these rows are.
    cv, seed
        As in `compare`.
    """
    check_width(data)
    models = {name: c.model for name, c in chapters.items() if _trainable(c.model)}
    forest = next((name for name, c in chapters.items() if is_forest(last_of(c.model))), None)
    if forest is None:
        forest = FOREST
        models[forest] = _forest(data)
    result = compare(models, data.X, data.y, cv=cv, n_repeats=SHUFFLES, feature_names=data.names, random_state=seed)
    folds = result.scores.shape[1]
    text = [
        f"Each model is trained anew on {folds} parts of {rows} and measured on the rows left out. Own "
        "importances answer "
        "different questions, so compare their order; permutation importance asks every model the same."
    ]
    left_out = [name for name in chapters if name not in models]
    if left_out:
        text.append(
            f"{', '.join(left_out)}: trained elsewhere, so not trained anew; beside the forest stand the "
            "importances of the "
            "model as it is."
        )
    intervals = result.score_intervals
    scores = Table(
        "Scores on rows left out",
        ["model", result.scoring, "from", "to"],
        [(m, result.mean("scores")[i], *intervals[i]) for i, m in enumerate(result.models)],
    )
    own, shuffled = result.mean("importances"), result.mean("permutation")
    head = ["column", *(f"{m}, {what}" for m in result.models for what in ("own share", f"fall of {result.scoring}"))]
    lines = [
        (result.names[j], *(v for i in range(len(result.models)) for v in (own[i, j], shuffled[i, j])))
        for j in result.ranking
    ]
    columns = Table("Importances", head, lines, sortable=True)
    pictures: list[Picture] = []
    first = f"{result.names[result.ranking[0]]} is first over all."
    if len(models) > 1:
        alt = f"Bars of the importances of {len(models)} models, side by side; {first}"
        pictures.append(picture(lambda path: comparison(result, path=path, max_display=SHOWN), alt))
    shares = {m: _Shares(result.names, own[i]) for i, m in enumerate(result.models) if np.isfinite(own[i]).all()}
    for name in left_out:
        imp = chapters[name].importances
        if imp.names == result.names:
            shares[name] = _Shares(imp.names, imp.normalized)
    if len(shares) > 1:
        alt = (
            f"Lines through the ranks of the columns by {len(shares)} models; where they cross, columns change places."
        )
        pictures.append(picture(lambda path: slope(shares, path=path), alt))
    tables = [scores, columns]
    if result.correlations:
        lines = [
            (f"{c.first}, {c.second}", "own" if c.kind == "importances" else c.kind, c.spearman, *c.spearman_interval)
            for c in result.correlations
        ]
        tables.insert(1, Table("Agreement on the order", ["models", "importances", "Spearman", "from", "to"], lines))
    text += [f"{m}: {note}" for m, note in result.notes.items()]
    return Part("Beside a random forest", "forest", text, pictures, tables), result


def is_forest(model: Any) -> bool:
    return isinstance(model, RandomForestClassifier | RandomForestRegressor)


def _trainable(model: Any) -> bool:
    return hasattr(model, "fit") and not isinstance(last_of(model), _Fitted | FrozenEstimator)


def _forest(data: Data) -> Any:
    """A forest that also reads words: as whole numbers, in no order that means anything, which trees can cut apart."""
    make = RandomForestClassifier if data.classification else RandomForestRegressor
    forest = make(TREES)
    if not hasattr(data.X, "iloc") or all(dtype.kind in "biuf" for dtype in data.X.dtypes):
        return forest
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(
        make_column_transformer((words, make_column_selector(dtype_exclude="number")), remainder="passthrough"), forest
    )
