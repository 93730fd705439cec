"""Pictures of results, with matplotlib: ``pip install 'skexplain[plot]'``.

Nothing here calls ``plt.show()``. With ``path=`` a picture is written and pyplot is never touched.
"""

from ._accessors import ExplanationPlot, ImportancesPlot
from ._comparison import comparison

__all__ = ["ExplanationPlot", "ImportancesPlot", "comparison"]
