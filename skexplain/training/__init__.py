"""What training itself tells: callbacks for Keras, skorch and loops of one's own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._importance_history import ImportanceHistory
from ._threshold import MetricThreshold
from ._weight_history import WeightHistory

if TYPE_CHECKING:
    from ..keras._watching import VarianceImportanceKeras
    from ..torch._watching import VarianceImportanceTorch

__all__ = [
    "ImportanceHistory",
    "MetricThreshold",
    "VarianceImportanceKeras",
    "VarianceImportanceTorch",
    "WeightHistory",
]

#: Public name -> the half that defines it, which is loaded only when it is asked for.
_LAZY = {"VarianceImportanceKeras": "keras", "VarianceImportanceTorch": "torch"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'skexplain.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"..{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
