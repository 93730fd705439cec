"""Attribution strategies, one family a file."""

from ._ablation import Ablation
from ._base import Attributed, Attribution
from ._deeplift import DeepLIFT, DeepSHAP
from ._expected_gradients import ExpectedGradients
from ._input_x_gradient import InputXGradient
from ._integrated_gradients import IntegratedGradients
from ._loco import LOCO
from ._lrp import LRP
from ._occlusion import Occlusion
from ._permutation import Permutation
from ._registry import ATTRIBUTIONS, get_attribution
from ._saliency import Saliency
from ._smoothgrad import SmoothGrad
from ._weights import ConnectionWeights, Garson

__all__ = [
    "ATTRIBUTIONS",
    "LOCO",
    "LRP",
    "Ablation",
    "Attributed",
    "Attribution",
    "ConnectionWeights",
    "DeepLIFT",
    "DeepSHAP",
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
