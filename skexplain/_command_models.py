"""The model that a command is about: trained on the way, or read from a file; and the rows to look at it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from . import _command as cli
from ._columns import column_names
from ._fitted import from_fitted
from ._saved import read_model
from ._subject import BACKGROUND_ROWS, is_network
from ._tables import Table
from ._wrap import unnested

#: Share of the rows that a model is not trained on.
HELD_OUT = 0.25
#: Strategies for what is no network.
WITHOUT_GRADIENT = {"importances": "permutation", "rows": "shapley_sampling"}


@dataclass
class Case:
    """A trained model, the rows to measure on, and what was told on the way.

    Attributes
    ----------
    model : object
    name : str
    X : DataFrame of shape (n, n_columns)
    y : ndarray of shape (n,) or None
    background : DataFrame or None
        None: what the model has kept.
    training : DataFrame or None
        What the model was trained on, if it was here.
    y_training : ndarray or None
        Its targets.
    """

    model: Any
    name: str
    X: Any
    y: NDArray | None
    background: Any = None
    training: Any = None
    y_training: NDArray | None = None

    @property
    def is_network(self) -> bool:
        last = unnested(self.model)
        return is_network(last[-1] if isinstance(last, Pipeline) else last)

    def attribution(self, given: str | None, of: str) -> str | None:
        """The caller's strategy; otherwise the network's own, or one that asks for predictions only."""
        return WITHOUT_GRADIENT[of] if given is None and not self.is_network else given

    def score(self) -> dict[str, Any]:
        """How good the model is on the rows; nothing if the truth is not known."""
        if self.y is None or not hasattr(self.model, "predict"):
            return {}
        name, measure = ("accuracy", accuracy_score) if is_classifier(self.model) else ("r2", r2_score)
        return {name: float(measure(self.y, self.model.predict(self.X)))}


#: Options of the commands that are about one model.
Module = Annotated[
    str | None, typer.Option(help="package.module:Class, which makes the torch module, or the file needs.")
]
Trust = Annotated[list[str] | None, typer.Option(help="Name in the file that may be imported.")]
MODEL = "torch, keras or forest, to be trained; or a file: of skexplain.save, .keras, .pt, .safetensors, .skops."


def is_trained_here(model: str | None, module: str | None, trust: list[str] | None) -> bool:
    """Whether a model is to be trained rather than read.

    Raises
    ------
    ValueError
        For options that are for files only.
    """
    here = model is None or model in cli.MODELS
    if here and (module or trust):
        raise ValueError(f"{'--module' if module else '--trust'} is for saved models; give the file as --model.")
    return here


def trained(model: str | None, table: Table, random_state: int) -> Case:
    """A new model, trained on most of the rows."""
    assert table.y is not None
    few = np.unique(table.y, return_counts=True)[1].min() if table.classification else 0
    if len(table.X) < 8:
        raise ValueError(
            f"{table.name} has {len(table.X)} rows, too few to train on some and explain on others; 8 are needed."
        )
    X, X_test, y, y_test = train_test_split(
        table.X,
        table.y,
        test_size=HELD_OUT,
        random_state=random_state,
        stratify=table.y if few > 1 and len(np.unique(table.y)) <= HELD_OUT * len(table.y) else None,
    )
    name, estimator = _first(model, table.classification)
    fitted = table.behind(estimator.set_params(random_state=random_state)).fit(X, y)
    return Case(fitted, name, X_test, y_test, _some(X, random_state), X, y)


def saved(path: Path, module: str | None, trusted: list[str], table: Table, random_state: int) -> Case:
    """A model from a file, with the columns that it was trained on, in their order."""
    model = read_model(path, module, trusted)
    X = table.X
    if hasattr(model, "feature_names_in_"):
        wanted = column_names(None, None, model, len(model.feature_names_in_))
        missing = [name for name in wanted if name not in X.columns]
        if missing:
            raise ValueError(f"{path.name} reads a column {missing[0]!r}, which {table.name} does not have.")
        X = X[wanted]
    elif table.texts:
        raise ValueError(
            f"{path.name} reads numbers, but the column {X.columns[table.texts[0]]!r} holds text; leave it out with "
            f"--drop {X.columns[table.texts[0]]!r}."
        )
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):  # a bare network
        X = X.astype(np.float32)
        model = from_fitted(model, X, table.y, random_state=random_state)
    kept = getattr(model, "_kept", None) is not None
    return Case(model, path.name, X, table.y, None if kept else _some(X, random_state))


def _first(model: str | None, classification: bool) -> tuple[str, Any]:
    """The model that was named, or the first that is installed."""
    for name in ("torch", "keras", "forest") if model is None else (model,):
        try:
            return name, cli.estimator(name, classification)
        except ImportError:
            if model is not None:
                raise
    raise AssertionError  # a forest is always there


def _some(X: Any, random_state: int) -> Any:
    return X.sample(min(BACKGROUND_ROWS, len(X)), random_state=random_state)
