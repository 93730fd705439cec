"""PyTorch networks as scikit-learn estimators, on skorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

#: Public name -> module that defines it. Lazy, so that the Keras half can use `TorchNetwork` without skorch.
_LAZY = {
    "ColumnGatedMLP": "_gated",
    "EmbedCodes": "_module",
    "MLP": "_module",
    "FTTransformer": "_ft_transformer",
    "NeuralNetClassifier": "_estimators",
    "NeuralNetRegressor": "_estimators",
    "VarianceImportanceTorch": "_watching",
}

if TYPE_CHECKING:
    from ._estimators import NeuralNetClassifier, NeuralNetRegressor
    from ._ft_transformer import FTTransformer
    from ._gated import ColumnGatedMLP
    from ._module import MLP, EmbedCodes
    from ._watching import VarianceImportanceTorch

__all__ = [
    "MLP",
    "ColumnGatedMLP",
    "EmbedCodes",
    "FTTransformer",
    "NeuralNetClassifier",
    "NeuralNetRegressor",
    "VarianceImportanceTorch",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'skexplain.torch' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    except ModuleNotFoundError as exc:
        if exc.name not in ("torch", "skorch"):
            raise
        raise ImportError(
            f"skexplain.torch.{name} needs {exc.name}, which is not installed. Run: pip install 'skexplain[torch]'"
        ) from exc


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
