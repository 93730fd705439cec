"""Names of the strategies."""

from __future__ import annotations

from typing import Any

from ._ablation import Ablation
from ._attention import Attention, AttentionRollout, GradientXAttention
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
from ._sage import SAGE
from ._saliency import Saliency
from ._shapley_sampling import ShapleySampling
from ._smoothgrad import SmoothGrad
from ._training import VIANN, WeightMeanAbs, WeightPathLength, WeightRange, WeightStd
from ._weights import ConnectionWeights, Garson

ATTRIBUTIONS = {
    "ablation": Ablation,
    "attention": Attention,
    "attention_rollout": AttentionRollout,
    "conditional_permutation": ConditionalPermutation,
    "connection_weights": ConnectionWeights,
    "deeplift": DeepLIFT,
    "deepshap": DeepSHAP,
    "exact_shapley": ExactShapley,
    "expected_gradients": ExpectedGradients,
    "garson": Garson,
    "gates": Gates,
    "gradcam": GradCAM,
    "gradient_x_attention": GradientXAttention,
    "input_x_gradient": InputXGradient,
    "integrated_gradients": IntegratedGradients,
    "kernel_shap": KernelSHAP,
    "loco": LOCO,
    "lrp": LRP,
    "occlusion": Occlusion,
    "permutation": Permutation,
    "sage": SAGE,
    "saliency": Saliency,
    "shapley_sampling": ShapleySampling,
    "smoothgrad": SmoothGrad,
    "viann": VIANN,
    "weight_mean_abs": WeightMeanAbs,
    "weight_path_length": WeightPathLength,
    "weight_range": WeightRange,
    "weight_std": WeightStd,
}


def get_attribution(attribution: Any) -> Any:
    """Strategy object from a registered name, or the object itself.

    Parameters
    ----------
    attribution : str or object
        A name from `ATTRIBUTIONS`, an `Attribution`, or any object with a method ``attribute`` or
        ``importances`` of the same signature.

    Raises
    ------
    ValueError
        For a name that is not registered.
    TypeError
        For a class, or an object with neither method.

    Examples
    --------
    >>> from skexplain.attributions import get_attribution
    >>> get_attribution("saliency")
    Saliency()
    """
    if isinstance(attribution, str):
        if attribution not in ATTRIBUTIONS:
            raise ValueError(f"Unknown attribution {attribution!r}; valid names are {sorted(ATTRIBUTIONS)}.")
        return ATTRIBUTIONS[attribution]()
    if isinstance(attribution, type):
        raise TypeError(f"attribution={attribution.__name__} is a class; pass an object: {attribution.__name__}().")
    if not (hasattr(attribution, "attribute") or hasattr(attribution, "importances")):
        raise TypeError(
            f"attribution={attribution!r} has neither `attribute` nor `importances`; "
            f"pass one of {sorted(ATTRIBUTIONS)} or an object with one of these methods."
        )
    return attribution


def same(a: Any, b: Any) -> bool:
    """Whether two strategies are of one class and have equal parameters."""
    if a is b or not (hasattr(a, "get_params") and type(a) is type(b)):
        return a is b
    return repr(a.get_params()) == repr(b.get_params())
