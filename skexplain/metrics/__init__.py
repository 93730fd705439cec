"""Is an explanation right? Measures of it, each beside a random order and an answer that asks no model."""

from __future__ import annotations

from ._completeness import completeness
from ._curves import deletion, insertion
from ._infidelity import infidelity
from ._no_model import no_model_importances
from ._recovery import Recovery, recovery
from ._results import Curve, Score
from ._retraining import kar, roar
from ._sanity import Check, SanityReport
from ._sensitivity import max_sensitivity
from ._stability import Stability, stability

__all__ = [
    "Check",
    "Curve",
    "Recovery",
    "SanityReport",
    "Score",
    "Stability",
    "completeness",
    "deletion",
    "infidelity",
    "insertion",
    "kar",
    "max_sensitivity",
    "no_model_importances",
    "recovery",
    "roar",
    "stability",
]
