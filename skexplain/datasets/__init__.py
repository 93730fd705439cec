"""Data with known truth: which columns matter, and where it is known how much.

Each function returns a `sklearn.utils.Bunch` with ``data``, ``target``, ``feature_names``, ``important`` (a mask of the
columns that the target depends on), ``formula``, and what else is known: ``coef``, ``shapley_values``.
"""

from __future__ import annotations

from ._correlated import conditional_shapley, make_correlated_blocks, make_gaussian
from ._independent import make_additive, make_friedman1, make_interactions, make_linear, make_moons, make_xor
from ._spurious import add_spurious

__all__ = [
    "add_spurious",
    "conditional_shapley",
    "make_additive",
    "make_correlated_blocks",
    "make_friedman1",
    "make_gaussian",
    "make_interactions",
    "make_linear",
    "make_moons",
    "make_xor",
]
