"""Trained estimators with random weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from .._wrap import frameworks, unwrap
from ..exceptions import UnsupportedModelError
from ._trained import last_step


def randomised(model: Any, rng: np.random.Generator) -> Any:
    """A copy whose trained arrays are normal draws of the same mean square; scalers and other steps stay.

    Raises
    ------
    UnsupportedModelError
        For what is no network.
    """
    model = copy.deepcopy(model)
    last = last_step(getattr(model, "best_estimator_", model))
    if isinstance(last, MLPClassifier | MLPRegressor):
        for arrays in (last.coefs_, last.intercepts_):
            arrays[:] = [(np.sqrt(np.mean(W**2)) * rng.normal(size=W.shape)).astype(W.dtype) for W in arrays]
        return model
    raw = getattr(last, "module_", getattr(last, "model_", None)) if hasattr(last, "_network") else unwrap(last)[0]
    if "keras" in frameworks(raw):
        from ..keras._random_weights import randomise
    elif "torch" in frameworks(raw):
        from ..torch._random_weights import randomise  # type: ignore[assignment]
    else:
        raise UnsupportedModelError(f"A {type(last).__name__} has no weights that could be made random.")
    randomise(raw, rng)
    return model
