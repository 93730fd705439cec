"""What the numbers say, in sentences that are made of them by rule.

Two methods are told apart on a data set when the mean of their differences over draws is larger than these differences'
standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from . import _recovery, _selection
from ._networks import DEFAULT, NETWORKS
from ._tables import gains, present

FOREST = "RandomForest"
NETWORK, PLAIN = NETWORKS


def ahead(differences: Iterable[float]) -> bool:
    """Whether differences, one a draw, are on average above 0 by more than their spread."""
    d = np.asarray(list(differences), dtype=float)
    d = d[~np.isnan(d)]
    return bool(len(d) > 1 and d.mean() > max(d.std(ddof=1), 1e-9))


def best_method(frame: pd.DataFrame, model: str, data: str) -> str:
    """The model's method with the highest mean AUC on the data set, as only hindsight knows it."""
    return str(frame[(frame.model == model) & (frame.data == data)].groupby("method").auc.mean().idxmax())


def aucs(frame: pd.DataFrame, model: str, method: str, data: str) -> pd.Series:
    """By draw."""
    chosen = (frame.model == model) & (frame.method == method) & (frame.data == data)
    return frame[chosen].set_index("draw").auc


def duel(frame: pd.DataFrame, one: tuple[str, str | None], other: tuple[str, str | None]) -> str:
    """On which data sets one is ahead of the other, and the other of the one.

    Parameters
    ----------
    frame : DataFrame
        Of the recovery.
    one, other : pair of str
        Model and method; None: the model's best method on each data set.
    """
    sides: tuple[list[str], list[str]] = ([], [])
    data = present(frame, _recovery.DATA, "data")
    for name in data:
        (a, a_method), (b, b_method) = (
            (model, method or best_method(frame, model, name)) for model, method in (one, other)
        )
        x, y = aucs(frame, a, a_method, name), aucs(frame, b, b_method, name)
        labels = [f" ({m})" if given is None else "" for m, given in ((a_method, one[1]), (b_method, other[1]))]
        figures = f"{name}: {x.mean():.2f}{labels[0]} against {y.mean():.2f}{labels[1]}"
        if ahead(x - y):
            sides[0].append(figures)
        elif ahead(y - x):
            sides[1].append(figures)
    better, worse = ("; ".join(side) or "none" for side in sides)
    level = len(data) - sum(map(len, sides))
    return f"better on {len(sides[0])} data sets ({better}), worse on {len(sides[1])} ({worse}), level on {level}."


def recovery_findings(frame: pd.DataFrame) -> list[str]:
    default = (NETWORK, DEFAULT)
    lines = [
        f"**Where the forest is still better.** The {NETWORK} by `{DEFAULT}`, what a user who sets nothing gets, "
        f"beside the forest's best method on each data set: {duel(frame, default, (FOREST, None))}",
        f"The {NETWORK} by its own best strategy on each data set, beside the same: "
        + duel(frame, (NETWORK, None), (FOREST, None)),
        f"The {NETWORK} beside the {PLAIN}, both by `{DEFAULT}`: " + duel(frame, default, (PLAIN, DEFAULT)),
    ]
    lasso = frame[(frame.model == _recovery.LASSONET)]
    if lasso.auc.notna().any():
        lines.append(
            f"The {NETWORK} by `{DEFAULT}` beside LassoNet: " + duel(frame, default, (_recovery.LASSONET, "path"))
        )
    else:
        lines.append(f"LassoNet: {lasso.remark.iloc[0]}.")
    lines.append(
        f"The {NETWORK} by `{DEFAULT}` beside no model, the rank correlation of each column alone with the target: "
        + duel(frame, default, ("control", "no model"))
    )
    lines.append(network_or_strategy(frame))
    lines += [strategies_of(frame, model) for model in NETWORKS]
    return lines + refusals(frame)


def complete(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    """AUC by data set (rows) and those methods of the model that answered on all."""
    return frame[frame.model == model].pivot_table(index="data", columns="method", values="auc").dropna(axis=1)


def network_or_strategy(frame: pd.DataFrame) -> str:
    """What matters more, which model is asked or how."""
    tables = {model: complete(frame, model) for model in (*NETWORKS, FOREST)}
    by_strategy = np.mean([tables[model].std(axis=1).mean() for model in NETWORKS])
    shared = tables[NETWORK].columns.intersection(tables[PLAIN].columns)
    by_network = (tables[NETWORK][shared] - tables[PLAIN][shared]).abs().mean().mean()
    by_model = (tables[NETWORK].median(axis=1) - tables[FOREST].median(axis=1)).abs().mean()
    return (
        f"Which model is asked, or how: strategies of one network differ by {by_strategy:.3f} (standard deviation of "
        f"the AUC over strategies, mean over data sets), the same strategy on the two networks by {by_network:.3f} "
        f"(mean absolute difference), the medians over methods of the {NETWORK} and the forest by {by_model:.3f}."
    )


def strategies_of(frame: pd.DataFrame, model: str) -> str:
    means = complete(frame, model).mean().sort_values(ascending=False)
    first, last = (", ".join(f"`{k}` {v:.3f}" for k, v in part.items()) for part in (means[:3], means[-3:]))
    return f"Highest mean AUC of the {model}'s strategies: {first}; lowest: {last}; `{DEFAULT}`: {means[DEFAULT]:.3f}."


def refusals(frame: pd.DataFrame) -> list[str]:
    """Who did not answer, where, and why."""
    silent = frame[frame.auc.isna() & frame.model.isin(list(NETWORKS))].fillna({"remark": ""})
    lines = []
    for method, some in silent.groupby("method"):
        networks = " and ".join(present(some, NETWORKS, "model"))
        reason = " ".join(some.remark.iloc[0].split())
        lines.append(
            f"`{method}` gave no answer on {some.data.nunique()} of {frame.data.nunique()} data sets ({networks}): "
            f"{reason.rstrip('.')}."
        )
    return lines


def selection_findings(frame: pd.DataFrame) -> list[str]:
    lines = []
    for judge in present(frame, _selection.JUDGES, "model"):
        of_judge = frame[frame.model == judge]
        gain = of_judge.assign(gain=gains(frame)).groupby("method").gain.mean()
        chosen = gain[present(of_judge, _selection.METHODS, "method")].sort_values(ascending=False)
        lines.append(
            f"A **{judge}** trained on the columns chosen, mean gain in accuracy or R² over all columns: "
            + ", ".join(f"{k} {v:+.3f}" for k, v in chosen.items())
            + f"; {_selection.ORIGINAL} {gain[_selection.ORIGINAL]:+.3f}, {_selection.RANDOM} "
            f"{gain[_selection.RANDOM]:+.3f}."
        )
        rivals = [method for method in _selection.METHODS if method != _selection.NETWORK]
        results = {rival: settled(of_judge, _selection.NETWORK, rival) for rival in rivals}
        figures = ", ".join(f"{rival} {len(better)} and {len(worse)}" for rival, (better, worse) in results.items())
        lines.append(
            f"For a {judge}, columns by {_selection.NETWORK} are better and worse, in so many of "
            f"{of_judge.data.nunique()} settings, than those by: {figures}."
        )
        worse = results[_selection.FOREST][1]
        lines.append(f"**Where the forest chooses better** for a {judge}: {'; '.join(worse) or 'nowhere'}.")
    whole = frame[frame.method == _selection.ALL].groupby("model").score.mean()
    figures = ", ".join(f"{model} {score:.3f}" for model, score in whole.items())
    return [*lines, f"Mean accuracy or R² on all columns, nothing chosen: {figures}."]


def settled(frame: pd.DataFrame, one: str, other: str) -> tuple[list[str], list[str]]:
    """Settings in which the columns of one are better than those of the other, and in which they are worse."""
    better, worse = [], []
    for name in present(frame, _selection.DATA, "data"):
        scores = frame[frame.data == name].pivot(index="draw", columns="method", values="score")
        difference = scores[one] - scores[other]
        figures = f"{name.replace('_', ' ')} ({difference.mean():+.3f})"
        if ahead(difference):
            better.append(figures)
        elif ahead(-difference):
            worse.append(figures)
    return better, worse
