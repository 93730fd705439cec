"""Selecting columns, with a guarantee on how many are chosen in error."""

from __future__ import annotations

from ._conditional_test import ConditionalTest, conditional_test
from ._fdr import FDRSelector
from ._knockoffs import gaussian_knockoffs
from ._probe import ProbeSelector
from ._stability import StabilitySelector

__all__ = [
    "ConditionalTest",
    "FDRSelector",
    "ProbeSelector",
    "StabilitySelector",
    "conditional_test",
    "gaussian_knockoffs",
]
