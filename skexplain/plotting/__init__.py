"""Pictures of results, with matplotlib: ``pip install 'skexplain[plot]'``.

Nothing here calls ``plt.show()``. With ``path=`` a picture is written and pyplot is never touched.
"""

from ._accessors import ExplanationPlot, ImportancesPlot
from ._comparison import comparison
from ._image import images
from ._methods import MethodsPlot
from ._text import TextPlot
from ._training import (
    importance_history,
    weight_animation,
    weight_boxes,
    weight_density,
    weight_deviation,
    weight_scatter,
)

__all__ = [
    "ExplanationPlot",
    "ImportancesPlot",
    "MethodsPlot",
    "TextPlot",
    "comparison",
    "images",
    "importance_history",
    "weight_animation",
    "weight_boxes",
    "weight_density",
    "weight_deviation",
    "weight_scatter",
]
