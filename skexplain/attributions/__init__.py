"""Attribution strategies, one family a file."""

from ._ablation import Ablation
from ._base import Attributed, Attribution
from ._expected_gradients import ExpectedGradients
from ._input_x_gradient import InputXGradient
from ._integrated_gradients import IntegratedGradients
from ._occlusion import Occlusion
from ._permutation import Permutation
from ._registry import ATTRIBUTIONS, get_attribution
from ._saliency import Saliency
from ._smoothgrad import SmoothGrad
from ._weights import ConnectionWeights, Garson

__all__ = [
    "ATTRIBUTIONS",
    "Ablation",
    "Attributed",
    "Attribution",
    "ConnectionWeights",
    "ExpectedGradients",
    "Garson",
    "InputXGradient",
    "IntegratedGradients",
    "Occlusion",
    "Permutation",
    "Saliency",
    "SmoothGrad",
    "get_attribution",
]
