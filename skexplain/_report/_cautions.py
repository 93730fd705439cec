"""When not to trust the numbers, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from scipy import stats
from sklearn.base import is_classifier

from ..comparison import Comparison
from ._data import CORRELATED, Data
from ._forest import FOREST, is_forest
from ._model import Chapter, last_of
from ._parts import listed

#: Probability that counts as certain, and the share of rows from which on that is said.
CERTAIN, SATURATED = 0.999, 0.5
#: Background rows and rows below which importances are unsteady.
FEW_BACKGROUND, FEW_ROWS = 30, 50
#: Different values of a column that a tree can cut at many places, and of one that it can cut at few.
MANY_VALUES, FEW_VALUES = 20, 5
#: Share of the rarest class below which a score of all rows hides it.
RARE = 0.05
#: Columns that count as the top of a ranking.
TOP = 5


def cautions(
    chapters: Mapping[str, Chapter],
    data: Data,
    trained: Mapping[str, float | None],
    held_out: bool | None,
    better: Mapping[str, bool],
    compared: Comparison | None,
) -> list[str]:
    """A sentence or two on everything that was found.

    Parameters
    ----------
    chapters : dict of str to Chapter
    data : Data
    trained : dict of str to float or None
        Share of each model's training rows that is among the rows; None where it is not known.
    held_out : bool or None
        What the caller says of it.
    better : dict of str to bool
        Whether each model is better than a guess.
    compared : Comparison or None
    """
    return [
        *_rows(data),
        *_training(trained, held_out),
        *(
            f"{name} is no better than a guess on these rows. What it looks at says nothing about the data."
            for name, is_better in better.items()
            if not is_better
        ),
        *_correlated(chapters, data),
        *(sentence for c in chapters.values() for sentence in _of_model(c, data)),
        *_forest(chapters, data, compared),
        *_models(compared),
    ]


def _rows(data: Data) -> Iterator[str]:
    n = len(data.y)
    if n < FEW_ROWS:
        yield f"There are {n} rows only. Scores and importances may be quite different on other rows."
    if data.classification:
        labels, counts = np.unique(data.y, return_counts=True)
        if counts.min() < RARE * n:
            rare = labels[counts.argmin()]
            yield f"Class {rare} has {counts.min()} of {n} rows. The accuracy over all rows says little about it."


def _training(trained: Mapping[str, float | None], held_out: bool | None) -> Iterator[str]:
    if held_out is True:
        return
    if held_out is False:
        yield (
            "Scores and importances are measured on training rows. They say what the models learned to use, "
            "memorised noise "
            "included, and are better than on new rows."
        )
        return
    seen = [name for name, share in trained.items() if share is not None and share > 0]
    unknown = [name for name, share in trained.items() if share is None]
    if seen:
        yield (
            f"Training rows of {', '.join(seen)} are among these rows, so importances and scores are measured on "
            "rows that "
            "the model knows: memorised noise counts, and scores are better than on new rows. Pass rows that "
            "were held out."
        )
    if unknown:
        yield (
            f"Nothing is known of the training rows of {', '.join(unknown)}. If they are these rows, scores are "
            "better than on "
            "new rows; held_out=True or False says so here."
        )


def _correlated(chapters: Mapping[str, Chapter], data: Data) -> Iterator[str]:
    pairs = data.correlated(order_of(chapters, data))
    if pairs:
        some = ", ".join(f"“{a}” with “{b}” ({r:.2f})" for a, b, r in pairs[:3])
        more = f", and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
        yield (
            f"Columns are correlated above {CORRELATED}: {some}{more}. A model may use either of two; importance "
            "is shared among "
            "them or falls on one by chance, and permuting one is softened by the other. Read them together: "
            'groups="correlated".'
        )


def _of_model(chapter: Chapter, data: Data) -> Iterator[str]:
    name, model, imp = chapter.name, chapter.model, chapter.importances
    if is_classifier(model) and hasattr(model, "predict_proba"):
        certain = float(np.mean(np.asarray(model.predict_proba(data.X)).max(axis=1) > CERTAIN))
        if certain > SATURATED:
            yield (
                f"{name} is certain (more than {CERTAIN}) of {100 * certain:.0f} % of the rows: its outputs are "
                "saturated. "
                "Probabilities hardly move there, and margins grow with no end, so that their sizes are not "
                "comparable with those "
                "of another model. Look whether it is overfitted or could be calibrated."
            )
    kept = getattr(model, "_kept_background", None)
    background = kept if chapter.background is None else chapter.background
    if chapter.network and background is not None and len(background) < FEW_BACKGROUND:
        yield (
            f"{name} is compared with {len(background)} background rows only. What counts as typical may be an "
            "accident; pass more "
            "rows."
        )
    if not imp.values.any():
        yield f"All importances of {name} are 0: its output depends on no column on these rows."
    else:
        top = imp.ranking[:TOP]
        low, high = imp.interval()
        pairs = pairwise(top)
        close = [(imp.names[a], imp.names[b]) for a, b in pairs if high[b] > low[a]]
        if close:
            a, b = close[0]
            yield (
                f"The intervals of neighbours in the ranking of {name} overlap, such as those of “{a}” and “{b}”: "
                "their order "
                "is not certain."
            )
    if chapter.methods is not None:
        found = chapter.methods.cautions
        for sentence in found[:2]:
            yield f"Strategies disagree on {name}. {sentence}"
        if len(found) > 2:
            yield f"There are {len(found) - 2} more disagreements of strategies on {name} beyond their noise."


def _forest(chapters: Mapping[str, Chapter], data: Data, compared: Comparison | None) -> Iterator[str]:
    """Impurity favours columns that can be cut at many places."""
    if compared is None:
        return
    own = compared.mean("importances")
    forests = [name for name, c in chapters.items() if is_forest(last_of(c.model))] or [FOREST]
    for name in forests:
        if name not in compared.models or np.isnan(own[compared.models.index(name)]).any():
            continue
        distinct = {data.names[j]: data.n_distinct(j) for j in range(len(data.names))}
        top = [compared.names[j] for j in np.argsort(-own[compared.models.index(name)], kind="stable")[:TOP]]
        many = [column for column in top if distinct.get(column, 0) >= MANY_VALUES]
        few = [column for column, k in distinct.items() if 1 < k <= FEW_VALUES]
        if many and few:
            yield (
                f"Own importances of {name} favour columns with many different values, such as {listed(many)}, "
                "over those with "
                f"few, such as {listed(few)}: trees can cut them at more places, also where they are noise. Trust "
                "the permutation "
                "importance there."
            )


def _models(compared: Comparison | None) -> Iterator[str]:
    if compared is None:
        return
    for c in compared.correlations:
        if c.kind == "permutation" and c.spearman_interval[1] < 0.5:
            yield (
                f"{c.first} and {c.second} rank the columns differently (Spearman {c.spearman:.2f} of the permutation "
                "importances). What one of them needs is not what the data needs."
            )


def order_of(chapters: Mapping[str, Chapter], data: Data) -> np.ndarray:
    """Positions of the columns, by their mean rank over the models."""
    position = {name: j for j, name in enumerate(data.names)}
    ranks = np.zeros(len(data.names))
    for c in chapters.values():
        found = np.zeros(len(data.names))
        for name, value in zip(c.importances.names, c.importances.values, strict=True):
            if name in position:
                found[position[name]] = value
        ranks += stats.rankdata(-found)
    return np.argsort(ranks, kind="stable")
