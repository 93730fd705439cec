"""What was recorded while a model was trained: losses, and what its callbacks have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..plotting import importance_history, weight_deviation
from ..plotting._canvas import PALETTE, label, new_figure, save
from ..training import ImportanceHistory, WeightHistory
from ._parts import Part, Picture, Table, listed, picture

#: Lines of the table behind a curve.
LINES = 12


def learning(model: Any, anchor: str) -> list[Part]:
    """A part on the training, none if nothing was recorded."""
    losses = _losses(model)
    pictures = []
    if losses:
        pictures.append(_loss_picture(losses))
    text = ["Losses by epoch."] if losses else []
    for callback in _callbacks(model):
        if isinstance(callback, ImportanceHistory) and getattr(callback, "_evaluations", ([],))[0]:
            text.append("Importances while it trained: where lines still move at the end, the ranking has not settled.")
            pictures.append(_importance_picture(callback))
        elif isinstance(callback, WeightHistory) and len(callback.weights):
            text.append("How far the weights on each column moved, which is not how much the column matters.")
            alt = f"Bars of how far the weights moved, for {len(callback.names)} columns."
            pictures.append(picture(partial(_draw_weights, callback), alt))
    return [Part("Learning", anchor, text, pictures)] if pictures else []


def _draw_weights(history: WeightHistory, path: Any) -> None:
    weight_deviation(history, path=path)


def _losses(model: Any) -> dict[str, list[float]]:
    """Losses by name, each with a number an epoch: of Keras, skorch and scikit-learn."""
    history = getattr(model, "history_", None)
    if isinstance(history, Mapping):
        found = {name: list(map(float, values)) for name, values in history.items() if "loss" in name}
    elif history is not None and len(history):
        names = [name for name in ("train_loss", "valid_loss") if all(name in epoch for epoch in history)]
        found = {name: [float(epoch[name]) for epoch in history] for name in names}
    else:
        curve = getattr(model, "loss_curve_", None)
        found = {} if curve is None else {"loss": list(map(float, curve))}
    return {name: values for name, values in found.items() if len(values) > 1 and np.isfinite(values).all()}


def _loss_picture(losses: dict[str, list[float]]) -> Picture:
    n = max(map(len, losses.values()))
    some = np.unique(np.linspace(0, n - 1, min(n, LINES)).astype(int))
    lines = [(int(k) + 1, *(values[k] if k < len(values) else None for values in losses.values())) for k in some]
    table = Table("Losses", ["epoch", *losses], lines)

    def draw(path: Any) -> None:
        ax = new_figure((6.4, 3), path).add_subplot()
        for (name, values), colour in zip(losses.items(), PALETTE, strict=False):
            ax.plot(np.arange(1, len(values) + 1), values, color=colour, linewidth=2, label=label(name))
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.legend(frameon=False)
        ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
        save(ax.figure, path)

    ends = ", ".join(f"{name} ends at {values[-1]:.3g}" for name, values in losses.items())
    return picture(draw, f"Losses over {n} epochs: {ends}.", [table])


def _importance_picture(history: ImportanceHistory) -> Picture:
    last = np.argsort(-history.values[-1], kind="stable")
    some = np.unique(np.linspace(0, len(history.epochs) - 1, min(len(history.epochs), LINES)).astype(int))
    top = last[:8]
    head = ["epoch", *(history.names[j] for j in top)]
    table = Table("Shares", head, [(int(history.epochs[k]), *history.values[k, top]) for k in some])
    alt = (
        f"Importances over {history.epochs[-1]} epochs; at the end {listed([history.names[j] for j in top])} are first."
    )
    return picture(lambda path: importance_history(history, path=path), alt, [table])


def _callbacks(model: Any) -> list[Any]:
    """Callbacks that were passed to an estimator, by themselves, in lists, pairs with a name, or dicts."""
    found: list[Any] = []
    waiting = [getattr(model, "callbacks", None)]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, Mapping):
            waiting += list(one.values())
        elif isinstance(one, Sequence) and not isinstance(one, str):
            waiting += list(one)
        else:
            found.append(one)
    return found
