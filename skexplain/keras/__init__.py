"""Keras networks as scikit-learn estimators, with scikeras' parameters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

#: Public name -> module that defines it. Lazy, so that importing this package loads no framework.
_LAZY = {
    "ColumnGatedMLP": "_gated",
    "EmbedCodes": "_default",
    "EncodeNumbers": "_default",
    "GatedDense": "_gated",
    "KerasClassifier": "_estimator",
    "KerasRegressor": "_estimator",
    "MeanOfMembers": "_gated",
    "MembersDense": "_gated",
    "Standardise": "_default",
    "TextVectorizer": "_text",
    "VarianceImportanceKeras": "_watching",
    "column_gated_mlp": "_gated",
    "mlp": "_default",
}

if TYPE_CHECKING:
    from ._default import EmbedCodes, EncodeNumbers, Standardise, mlp
    from ._estimator import KerasClassifier, KerasRegressor
    from ._gated import ColumnGatedMLP, GatedDense, MeanOfMembers, MembersDense, column_gated_mlp
    from ._text import TextVectorizer
    from ._watching import VarianceImportanceKeras

__all__ = [
    "ColumnGatedMLP",
    "EmbedCodes",
    "EncodeNumbers",
    "GatedDense",
    "KerasClassifier",
    "KerasRegressor",
    "MeanOfMembers",
    "MembersDense",
    "Standardise",
    "TextVectorizer",
    "VarianceImportanceKeras",
    "column_gated_mlp",
    "mlp",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'skexplain.keras' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    except ModuleNotFoundError as exc:
        # keras itself raises for its back end
        if exc.name is None or exc.name.split(".")[0] not in ("keras", "tensorflow", "torch", "jax"):
            raise
        raise ImportError(
            f"skexplain.keras.{name} needs {exc.name}, which is not installed. Run: pip install 'skexplain[keras]'"
        ) from exc


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
