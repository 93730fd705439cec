"""RefitImportances: importances by estimators that were trained anew, and what they vary with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from ._result_checks import check_shape
from ._result_text import text_table
from .explanation import SHOWN, Importances

if TYPE_CHECKING:
    import pandas as pd

#: What may vary, from the least to the most.
LEVELS = ("explanation", "model", "data")


@dataclass(frozen=True, eq=False, kw_only=True)
class RefitImportances(Importances):
    """Mean importances of estimators that were trained anew, and three errors of that mean.

    An `Importances`, with pictures, tables and files as such. ``values`` and ``signed`` are means over all fits.

    Attributes
    ----------
    error : ndarray of shape (n_features,)
        Standard error for data drawn anew: the root of the sum of the squares of the three.
    explanation_error : ndarray of shape (n_features,)
        Standard error by the sampling of the strategy: other draws, the same trained estimators and rows. 0 for
        strategies that draw nothing.
    model_error : ndarray of shape (n_features,)
        By the seeds of the training: the same rows. NaN if there was one seed; its error is then in ``data_error``.
    data_error : ndarray of shape (n_features,)
        By the rows, of those trained on and those explained.
    dof : dict of str to ndarray of shape (n_features,)
        Degrees of freedom of `interval` for "explanation", "model" and "data".
    fits : ndarray of shape (n_resamples, 2, n_seeds, n_features)
        Importances by each trained estimator, as in ``values`` for local strategies and in ``signed`` for others.
    n_repeats : int
        Explanations of each fit.
    train_size : int
        Rows that each was trained on.
    strategy : object or str
        ``"feature_importances_"`` for these of estimators that are no networks.

    See Also
    --------
    refit_importances : makes it.
    """

    explanation_error: NDArray
    model_error: NDArray
    data_error: NDArray
    dof: Mapping[str, NDArray]
    fits: NDArray
    n_repeats: int
    train_size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = {f"{level}_error": getattr(self, f"{level}_error") for level in LEVELS}
        for name, part in (parts | {f"dof[{level!r}]": self.dof[level] for level in LEVELS}).items():
            check_shape(name, part, (len(self.names),))
        check_shape("fits", self.fits, (*np.shape(self.fits)[:3], len(self.names)))

    def interval(
        self, level: float = 0.95, over: Literal["explanation", "model", "data"] = "data"
    ) -> tuple[NDArray, NDArray]:
        """Where the importance of each column lies, if what ``over`` says had been drawn infinitely often.

        Parameters
        ----------
        level : float, default=0.95
            Probability that the interval of a column contains it, between 0 and 1. Of each column by itself: of 20
            intervals at 0.95 expect one that does not.
        over : {"explanation", "model", "data"}, default="data"
            "explanation": the mean importance by *these* trained estimators on these rows, without the noise of the
            strategy's sampling. "model": the mean importance by estimators trained on *these rows*, in these
            resamples, over all seeds. "data": the expected importance by an estimator trained on ``train_size`` rows,
            over seeds and over *rows drawn anew*. Each contains the errors of those before.

        Returns
        -------
        low, high : ndarray of shape (n_features,)
            The mean plus and minus a quantile of Student's t times the standard error. A mean |attribution| cannot be
            below 0, but its interval may begin there.

        Raises
        ------
        ValueError
            For a level outside (0, 1), an unknown ``over``, and ``over="model"`` of estimators that were trained
            with one seed.

        See Also
        --------
        refit_importances : with an example; the user guide says how often intervals were right.
        """
        if not 0 < level < 1:
            raise ValueError(f"level={level!r} must lie between 0 and 1, such as 0.95.")
        if over not in LEVELS:
            raise ValueError(f"over={over!r}; choose 'explanation', 'model' or 'data'.")
        if over == "model" and self.fits.shape[2] < 2:
            raise ValueError(
                "over='model', but the estimator has no random_state, so how much its importances vary with a seed is "
                "not known; it is part of over='data'."
            )
        error = {
            "explanation": self.explanation_error,
            "model": np.hypot(self.explanation_error, self.model_error),
            "data": self.error,
        }[over]
        centre, half = self._centre, t.ppf((1 + level) / 2, self.dof[over]) * error
        return centre - half, centre + half

    @property
    def _centre(self) -> NDArray:
        """What is not clipped at 0."""
        return self.values if getattr(self.strategy, "local", hasattr(self.strategy, "attribute")) else self.signed

    def to_frame(self) -> pd.DataFrame:
        """One row a column of the data, most important first, with the three errors and the 95 % interval."""
        low, high = self.interval()
        more = {f"{level}_error": getattr(self, f"{level}_error") for level in LEVELS} | {"low": low, "high": high}
        frame = super().to_frame()
        for place, (name, values) in enumerate(more.items(), list(frame).index("error") + 1):
            frame.insert(place, name, values[self.ranking])
        return frame

    @classmethod
    def load(cls, path: Any) -> RefitImportances:
        """Read a file of `save`; see `Importances.load`."""
        from ._result_files import load_result

        return load_result("refit_importances", path)

    def __repr__(self) -> str:
        J, _, S, _ = self.fits.shape
        seeds = f"{S} seeds" if S > 1 else "no seed to change"
        alike = "" if self.explanation_error.any() else ", all alike"
        head = (
            f"Importances by {self.strategy}, {self.n_rows} rows: {J} resamples, {self.train_size} rows trained on; "
            f"{seeds}; explanations of each fit: {self.n_repeats}{alike}"
        )
        return "\n".join([head, *text_table(self._rows())])

    def _rows(self, most: int = SHOWN) -> list[tuple[str, ...]]:
        low, high = self.interval()
        rows: list[tuple[str, ...]] = [("column", "value", "± explanation", "± model", "± data", "95 % interval")]
        for j in self.ranking[:most]:
            errors = [getattr(self, f"{level}_error")[j] for level in LEVELS]
            known = ["" if np.isnan(error) else f"{error:.2g}" for error in errors]
            rows.append((self.names[j], f"{self._centre[j]:.4g}", *known, f"{low[j]:.3g} to {high[j]:.3g}"))
        if len(self) > most:
            rows.append((f"and {len(self) - most} more", *[""] * 5))
        return rows
