"""How good the models are on the rows: without that, importances say nothing about the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from ._data import Data
from ._parts import Part, Table

#: Draws of the rows behind the intervals, and most rows that are drawn from.
DRAWS, ROWS = 200, 5000

Measure = Callable[[Any, NDArray], float]


def scores(models: Mapping[str, Any], data: Data, known: Mapping[str, str], seed: int) -> tuple[Part, dict[str, bool]]:
    """A table of scores with intervals, and whether each model is better than a guess.

    Parameters
    ----------
    models : dict of str to fitted estimator
    data : Data
    known : dict of str to str
        What is known of whether each model was trained on these rows.
    seed : int
    """
    rng = np.random.default_rng(seed)
    n = len(data.y)
    rows = np.sort(rng.permutation(n)[:ROWS])
    draws = [rng.integers(len(rows), size=len(rows)) for _ in range(DRAWS)]
    head, lines, better = [], [], {}
    guess = _guess(data)
    for name, model in {**models, "a guess": None}.items():
        answers = guess if model is None else _answers(model, data)
        of = _classification(answers, data) if data.classification else _regression(answers)
        head = list(of)
        line: list[Any] = [name]
        for measure in of.values():
            value = measure(data.y, np.arange(n))
            drawn = [measure(data.y[rows], rows, k) for k in draws] if model is not None else []
            low, high = (
                np.nanquantile(drawn, [0.025, 0.975]) if drawn and not np.isnan(drawn).all() else (np.nan, np.nan)
            )
            line += [value, "" if np.isnan(low) else f"{low:.3g} to {high:.3g}"]
        if model is not None:
            better[name] = line[1] > guess_score(data)
        lines.append(line)
    heads = ["model", *(h for measure in head for h in (measure, "95 % interval"))]
    guessed = "the most common class" if data.classification else "the mean"
    text = [
        f"On the {n} rows given. Intervals say what other rows of the same kind would give; they are from {DRAWS} "
        "draws "
        f"of the rows. A guess is {guessed} of these rows, for every row.",
        *known.values(),
    ]
    return Part("Scores", "scores", text, tables=[Table("Scores on the rows given", heads, lines)]), better


def guess_score(data: Data) -> float:
    """The first score of a guess."""
    return float(np.unique(data.y, return_counts=True)[1].max() / len(data.y)) if data.classification else 0.0


def _guess(data: Data) -> dict[str, Any]:
    if not data.classification:
        return {"predict": np.full(len(data.y), data.y.astype(float).mean())}
    labels, counts = np.unique(data.y, return_counts=True)
    return {"predict": np.full(len(data.y), labels[counts.argmax()])}


def _answers(model: Any, data: Data) -> dict[str, Any]:
    answers = {"predict": np.asarray(model.predict(data.X))}
    if data.classification and hasattr(model, "predict_proba"):
        answers |= {"proba": np.asarray(model.predict_proba(data.X)), "classes": np.asarray(model.classes_)}
    return answers


def _classification(answers: dict[str, Any], data: Data) -> dict[str, Any]:
    predicted, p = answers["predict"], answers.get("proba")

    def of(score: Callable[[NDArray, NDArray], float], values: NDArray) -> Any:
        def measure(y: NDArray, rows: NDArray, k: Any = slice(None)) -> float:
            try:
                return float(score(y[k], values[rows][k]))
            except ValueError:  # a draw without a class
                return np.nan

        return measure

    def balanced(y: NDArray, z: NDArray) -> float:
        return float(np.mean([np.mean(z[y == c] == c) for c in np.unique(y)]))

    result = {
        "accuracy": of(lambda y, z: np.mean(y == z), predicted),
        "balanced accuracy": of(balanced, predicted),
    }
    result |= {"log loss": _unknown, "area under ROC": _unknown}
    labels = answers.get("classes")
    if p is None or labels is None or not np.isin(data.y, labels).all():
        return result
    result["log loss"] = of(lambda y, q: metrics.log_loss(y, q, labels=labels), p)
    if len(labels) == 2:
        result["area under ROC"] = of(lambda y, q: metrics.roc_auc_score(y == labels[1], q[:, 1]), p)
    return result


def _regression(answers: dict[str, Any]) -> dict[str, Any]:
    predicted = answers["predict"].reshape(len(answers["predict"]))

    def of(score: Callable[[NDArray, NDArray], float]) -> Any:
        return lambda y, rows, k=slice(None): float(score(y[k].astype(float), predicted[rows][k]))

    def r2(y: NDArray, z: NDArray) -> float:
        spread = np.sum((y - y.mean()) ** 2)
        return 1 - np.sum((y - z) ** 2) / spread if spread > 0 else np.nan

    return {
        "R²": of(r2),
        "mean absolute error": of(metrics.mean_absolute_error),
        "root mean squared error": of(lambda y, z: np.sqrt(np.mean((y - z) ** 2))),
    }


def _unknown(y: NDArray, rows: NDArray, k: Any = None) -> float:
    return np.nan
