"""The tables of the page; cells are mean ± standard deviation over draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from . import _recovery, _selection
from ._networks import DEFAULT, NETWORKS

#: Asked models, and columns of the recovery table, in their order.
MODELS = (*NETWORKS, "RandomForest", _recovery.LASSONET, "control")


def cell(values: Iterable[float], digits: int = 2) -> str:
    """Mean ± standard deviation; - where there is nothing."""
    known = np.array([v for v in values if not np.isnan(v)])
    if not len(known):
        return "-"
    spread = f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{known.mean():.{digits}f}{spread}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def present(frame: pd.DataFrame, names: Iterable[str], column: str) -> list[str]:
    """Those that the results have, in the order of the names."""
    known = set(frame[column])
    return [name for name in names if name in known]


def recovery_table(frame: pd.DataFrame) -> str:
    """AUC by method and data set; of each model the methods with the highest mean first."""
    data = present(frame, _recovery.DATA, "data")
    rows = []
    for model in present(frame, MODELS, "model"):
        of_model = frame[frame.model == model]
        scores = [cell(of_model[of_model.data == d].groupby("draw").score.first()) for d in data]
        if of_model.score.notna().any():
            seconds = of_model.groupby(["data", "draw"]).trained.first().mean()
            trained = "" if np.isnan(seconds) else f"{seconds:.2f}"
            rows.append([f"**{model}**", "*accuracy or R²*", "", "", *(f"*{s}*" for s in scores), trained])
        order = of_model.groupby("method").auc.mean().sort_values(ascending=False, na_position="last").index
        # those that answer on some data sets only have no mean that could be compared
        whole = of_model.groupby("method").auc.apply(lambda v: v.notna().all())
        for method in sorted(order, key=lambda m: not whole[m]):
            some = of_model[of_model.method == method]
            cells = [cell(some[some.data == d].auc) for d in data]
            means = [f"{some.auc.mean():.3f}", f"{some.best_p.mean():.3f}"] if whole[method] else ["-", "-"]
            answered = some[some.auc.notna()]
            seconds = f"{answered.seconds.mean():.3f}" if len(answered) else "-"
            name = f"**{method}** (default)" if method == DEFAULT else method
            rows.append([model, name, *means, *cells, seconds])
    return markdown(["model", "method", "mean AUC", "mean best p", *data, "seconds"], rows)


def gains(frame: pd.DataFrame) -> pd.Series:
    """Score of each choice of columns less that of the same model on all columns, of the same draw."""
    key = ["data", "draw", "model"]
    whole = frame[frame.method == _selection.ALL].set_index(key).score
    return frame.score - whole.reindex(pd.MultiIndex.from_frame(frame[key])).to_numpy()


def selection_table(frame: pd.DataFrame) -> str:
    """Means over data sets and shares, by kind of the columns added and model that is trained."""
    frame = frame.assign(gain=gains(frame), kind=frame.data.map(lambda d: _selection.DATA[d][1]))
    kinds = present(frame, _selection.KINDS, "kind")
    judges = present(frame, _selection.JUDGES, "model")
    methods = present(frame, [_selection.ORIGINAL, *_selection.METHODS, _selection.RANDOM], "method")
    rows = []
    for method in methods:
        of_method = frame[frame.method == method]
        row = [method]
        for judge in judges:
            of_judge = of_method[of_method.model == judge]
            row += [f"{of_judge[of_judge.kind == k].gain.mean():+.3f}" for k in kinds]
        found = of_method[of_method.model == judges[0]]
        row += [cell([found[found.kind == k].best_p.mean()]) for k in kinds]
        seconds = found.seconds.mean()
        rows.append([*row, "" if np.isnan(seconds) else f"{seconds:.3f}"])
    names = [k.replace("_", " ") for k in kinds]
    head = ["columns by", *(f"{j}: {k}" for j in judges for k in names), *(f"original: {k}" for k in names), "seconds"]
    return markdown(head, rows)


def setting_table(frame: pd.DataFrame, judge: str) -> str:
    """Scores of one model, trained on the columns chosen, by data set, kind and share."""
    methods = present(frame, [_selection.ALL, _selection.ORIGINAL, *_selection.METHODS, _selection.RANDOM], "method")
    of_judge = frame[frame.model == judge]
    rows = []
    for data in present(frame, _selection.DATA, "data"):
        some = of_judge[of_judge.data == data]
        rows.append([data.replace("_", " "), *(cell(some[some.method == m].score, 3) for m in methods)])
    return markdown(["data, added, share", *methods], rows)
