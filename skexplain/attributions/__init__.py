"""Attribution strategies, one family a file."""

from ._base import Attributed, Attribution
from ._expected_gradients import ExpectedGradients
from ._integrated_gradients import IntegratedGradients
from ._permutation import Permutation
from ._registry import ATTRIBUTIONS, get_attribution
from ._saliency import Saliency
from ._weights import ConnectionWeights, Garson

__all__ = [
    "ATTRIBUTIONS",
    "Attributed",
    "Attribution",
    "ConnectionWeights",
    "ExpectedGradients",
    "Garson",
    "IntegratedGradients",
    "Permutation",
    "Saliency",
    "get_attribution",
]
