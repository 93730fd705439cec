"""Keras and PyTorch networks as scikit-learn estimators with feature importances.

``import skexplain`` loads neither torch, keras, shap nor matplotlib; ``skexplain.torch`` and ``skexplain.keras``
hold the estimators.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

#: Public name -> module that defines it.
_LAZY = {
    "CompletenessError": "exceptions",
    "Comparison": "comparison",
    "RefitImportances": "_refit_result",
    "Explanation": "explanation",
    "Importances": "explanation",
    "MethodComparison": "methods",
    "RowReport": "row_report",
    "UnsupportedModelError": "exceptions",
    "compare": "comparison",
    "compare_methods": "methods",
    "correlated_groups": "_columns",
    "refit_importances": "_refit",
    "explain": "_explain",
    "explain_row": "row_report",
    "from_fitted": "_fitted",
    "importances": "_explain",
    "load": "_saving",
    "report": "_report",
    "sanity_check": "metrics._sanity",
    "save": "_saving",
}
_ROOMS = (
    "attributions",
    "comparison",
    "datasets",
    "exceptions",
    "explanation",
    "keras",
    "methods",
    "metrics",
    "plotting",
    "selection",
    "text",
    "torch",
    "training",
)

if TYPE_CHECKING:
    from ._columns import correlated_groups
    from ._explain import explain, importances
    from ._fitted import from_fitted
    from ._refit import refit_importances
    from ._refit_result import RefitImportances
    from ._report import report
    from ._saving import load, save
    from .comparison import Comparison, compare
    from .exceptions import CompletenessError, UnsupportedModelError
    from .explanation import Explanation, Importances
    from .methods import MethodComparison, compare_methods
    from .metrics._sanity import sanity_check
    from .row_report import RowReport, explain_row

__all__ = [
    "Comparison",
    "CompletenessError",
    "Explanation",
    "Importances",
    "MethodComparison",
    "RefitImportances",
    "RowReport",
    "UnsupportedModelError",
    "compare",
    "compare_methods",
    "correlated_groups",
    "explain",
    "explain_row",
    "from_fitted",
    "importances",
    "load",
    "refit_importances",
    "report",
    "sanity_check",
    "save",
]


def _refuse_scikit_explain() -> None:
    """The distribution scikit-explain installs an import package of the same name into the same folder."""
    try:
        importlib.metadata.distribution("scikit-explain")
    except importlib.metadata.PackageNotFoundError:
        return
    raise ImportError(
        "The distribution 'scikit-explain' is installed too, and both install an import package called 'skexplain' "
        "over each other. Run: pip uninstall scikit-explain skexplain, then: pip install skexplain"
    )


_refuse_scikit_explain()


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'skexplain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_ROOMS})
