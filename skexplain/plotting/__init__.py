"""Pictures of results, with matplotlib: ``pip install 'skexplain[plot]'``.

Nothing here calls ``plt.show()``. With ``path=`` a picture is written, and pyplot knows nothing of it.
"""

from ._accessors import ExplanationPlot, ImportancesPlot
from ._agreement import agreement, slope
from ._comparison import comparison
from ._curves import curves
from ._image import images
from ._methods import MethodsPlot
from ._partial_dependence import partial_dependence
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
    "agreement",
    "comparison",
    "curves",
    "images",
    "importance_history",
    "partial_dependence",
    "slope",
    "weight_animation",
    "weight_boxes",
    "weight_density",
    "weight_deviation",
    "weight_scatter",
]
