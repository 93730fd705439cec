"""Score and Curve: what measures return, with their controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid


@dataclass(frozen=True, eq=False)
class Score:
    """A measure of each row, beside controls. Lower is better.

    Attributes
    ----------
    name : str
    rows : ndarray of shape (n,)
        The measure of each row.
    no_model : float
        Mean of the measure for an answer that asks no model.
    random : float
        Mean of the measure for random values; NaN where these mean nothing.
    """

    name: str
    rows: NDArray
    no_model: float
    random: float = np.nan

    @property
    def value(self) -> float:
        """Mean over rows."""
        return float(self.rows.mean())

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        controls = [f"without a model {self.no_model:.4g}"]
        controls += [] if np.isnan(self.random) else [f"random {self.random:.4g}"]
        return f"{self.name} of {len(self.rows)} rows: {self.value:.4g} (lower is better; {', '.join(controls)})"


@dataclass(frozen=True, eq=False)
class Curve:
    """What is left, or lost, as more and more columns are taken in an order of importance.

    Attributes
    ----------
    name : str
    fractions : ndarray of shape (k,)
        Shares of the columns, or groups, that have been taken, from 0 to 1.
    values : ndarray of shape (k,)
    random : ndarray of shape (n_random, k)
        The same in random orders.
    no_model : ndarray of shape (k,)
        The same in an order for which no model was asked.
    better : {"low", "high"}
        Which curve is that of the better order.
    """

    name: str
    fractions: NDArray
    values: NDArray
    random: NDArray
    no_model: NDArray
    better: Literal["low", "high"]

    @property
    def area(self) -> float:
        """Area under ``values``."""
        return float(trapezoid(self.values, self.fractions))

    @property
    def random_areas(self) -> NDArray:
        """Areas under the curves of the random orders, ``(n_random,)``."""
        return trapezoid(self.random, self.fractions, axis=1)

    @property
    def no_model_area(self) -> float:
        """Area under ``no_model``."""
        return float(trapezoid(self.no_model, self.fractions))

    @property
    def gain(self) -> float:
        """How much better the area is than the mean of random orders: above 0 if better, in units of ``values``."""
        difference = self.random_areas.mean() - self.area
        return float(difference if self.better == "low" else -difference)

    def plot(self, ax: Any = None, *, path: Any = None) -> Any:
        """Draw the curve between its controls; see `skexplain.plotting.curves`."""
        from ..plotting import curves

        return curves([self], ax=ax, path=path)

    def __repr__(self) -> str:
        areas = self.random_areas
        return (
            f"{self.name}: area {self.area:.4g} ({self.better} is better; random orders {areas.mean():.4g} "
            f"± {areas.std():.2g}, without a model {self.no_model_area:.4g})"
        )
