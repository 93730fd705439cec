"""Attribution strategies, one family a file."""

from ._ablation import Ablation
from ._attention import Attention, AttentionRollout, GradientXAttention
from ._base import Attributed, Attribution
from ._conditional_permutation import ConditionalPermutation
from ._deeplift import DeepLIFT, DeepSHAP
from ._exact_shapley import ExactShapley
from ._expected_gradients import ExpectedGradients
from ._gates import Gates
from ._gradcam import GradCAM
from ._input_x_gradient import InputXGradient
from ._integrated_gradients import IntegratedGradients
from ._kernel_shap import KernelSHAP
from ._loco import LOCO
from ._lrp import LRP
from ._occlusion import Occlusion
from ._permutation import Permutation
from ._registry import ATTRIBUTIONS, get_attribution
from ._sage import SAGE
from ._saliency import Saliency
from ._shapley_sampling import ShapleySampling
from ._smoothgrad import SmoothGrad
from ._training import VIANN, WeightMeanAbs, WeightPathLength, WeightRange, WeightStd
from ._weights import ConnectionWeights, Garson

__all__ = [
    "ATTRIBUTIONS",
    "LOCO",
    "LRP",
    "SAGE",
    "VIANN",
    "Ablation",
    "Attention",
    "AttentionRollout",
    "Attributed",
    "Attribution",
    "ConditionalPermutation",
    "ConnectionWeights",
    "DeepLIFT",
    "DeepSHAP",
    "ExactShapley",
    "ExpectedGradients",
    "Garson",
    "Gates",
    "GradCAM",
    "GradientXAttention",
    "InputXGradient",
    "IntegratedGradients",
    "KernelSHAP",
    "Occlusion",
    "Permutation",
    "Saliency",
    "ShapleySampling",
    "SmoothGrad",
    "WeightMeanAbs",
    "WeightPathLength",
    "WeightRange",
    "WeightStd",
    "get_attribution",
]
