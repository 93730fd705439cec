"""Checks of parameters that scikit-learn's own let through."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from sklearn.utils.validation import check_scalar


def check_finite(value: Any, name: str, *, min_val: float) -> None:
    """A finite number of at least ``min_val``; `check_scalar` takes NaN for one.

    Raises
    ------
    TypeError
        For what is no number.
    ValueError
        For NaN, infinity and smaller numbers.
    """
    check_scalar(value, name, Real, min_val=min_val)
    if not math.isfinite(value):
        raise ValueError(f"{name}={value!r} must be a finite number of at least {min_val}.")
