"""Recovery: how well importances find the columns that are known to matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from ._no_model import no_model_importances


@dataclass(frozen=True)
class Recovery:
    """How well importances find the columns that are known to matter.

    Attributes
    ----------
    auc : float
        Probability that a column that matters is above one that does not; ties count half.
    best_p : float
        Share of the p columns that matter among the p most important.
    false_discoveries : float
        Columns that do not matter among those that are selected.
    false_discovery_proportion : float
        Their share of those that are selected; 0 if none is.
    power : float
        Share of the columns that matter that is selected.
    random_auc, random_best_p : tuple of two float
        Mean and standard deviation in a random order, exactly.
    no_model_auc, no_model_best_p : float
        Of `no_model_importances`; NaN without X and y.
    """

    auc: float
    best_p: float
    false_discoveries: float
    false_discovery_proportion: float
    power: float
    random_auc: tuple[float, float]
    random_best_p: tuple[float, float]
    no_model_auc: float = np.nan
    no_model_best_p: float = np.nan

    def __repr__(self) -> str:
        rows = [
            ("AUC", self.auc, self.random_auc, self.no_model_auc),
            ("best p", self.best_p, self.random_best_p, self.no_model_best_p),
        ]
        lines = []
        for name, value, (mean, deviation), no_model in rows:
            without = "" if np.isnan(no_model) else f", without a model {no_model:.3f}"
            lines.append(f"{name} {value:.3f} (random order {mean:.3f} ± {deviation:.3f}{without})")
        lines.append(
            f"false discoveries {self.false_discoveries:g} ({100 * self.false_discovery_proportion:.0f} % of those "
            f"selected), power {self.power:.3f}"
        )
        return "\n".join(lines)


def recovery(
    importances: Any, important: ArrayLike, *, selected: ArrayLike | None = None, X: Any = None, y: Any = None
) -> Recovery:
    """How well importances find the columns that are known to matter.

    Parameters
    ----------
    importances : Importances or array-like of shape (n_columns,)
        The higher, the more important.
    important : bool array-like of shape (n_columns,)
        Which columns matter, such as those of `skexplain.datasets`; some do and some do not.
    selected : bool array-like of shape (n_columns,), default=None
        Columns that were selected. None: the p most important, where p columns matter.
    X, y : array-like of shape (n, n_columns) and (n,), default=None
        The data, for the control that asks no model.

    Returns
    -------
    Recovery

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN, and when all or no columns matter.

    Notes
    -----
    Of columns with equal importance each is as likely above the other: importances that are all 0 have AUC 1/2 and
    ``best_p = p / d``, wherever the columns that matter stand. In a random order of d columns the AUC has variance
    ``(d + 1) / (12 p (d - p))``, and best_p that of a hypergeometric draw.

    References
    ----------
    J. Hanley, B. McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143, 1982.

    Examples
    --------
    >>> from skexplain.metrics import recovery
    >>> recovery([3, 2, 1, 0], [True, False, True, False])
    AUC 0.750 (random order 0.500 ± 0.323)
    best p 0.500 (random order 0.500 ± 0.289)
    false discoveries 1 (50 % of those selected), power 0.500
    """
    scores = np.asarray(importances, dtype=np.float64)
    mask = np.asarray(important)
    if mask.dtype != bool or scores.ndim != 1 or mask.shape != scores.shape:
        raise ValueError(
            f"importances has shape {scores.shape} and important shape {mask.shape} of {mask.dtype}; pass one number "
            "and one bool for each column."
        )
    if np.isnan(scores).any():
        raise ValueError("importances contains NaN; leave out the columns that have none, in `important` too.")
    p, d = int(mask.sum()), len(mask)
    if not 0 < p < d:
        raise ValueError(f"important is {'true' if p else 'false'} for all {d} columns; some must matter and some not.")
    auc, best_p = _auc_and_best(scores, mask)
    if selected is None:
        wrong, chosen, found = p * (1 - best_p), float(p), best_p
    else:
        chosen_mask = np.asarray(selected)
        if chosen_mask.dtype != bool or chosen_mask.shape != mask.shape:
            raise ValueError(f"selected must have a bool for each of the {d} columns.")
        wrong, chosen = float((chosen_mask & ~mask).sum()), float(chosen_mask.sum())
        found = float((chosen_mask & mask).sum() / p)
    no_model = (np.nan, np.nan)
    if X is not None and y is not None:
        without = no_model_importances(X, y)
        if len(without) != d:
            raise ValueError(f"X has {len(without)} columns, and importances {d}.")
        no_model = _auc_and_best(without, mask)
    return Recovery(
        auc=auc,
        best_p=best_p,
        false_discoveries=wrong,
        false_discovery_proportion=wrong / chosen if chosen else 0.0,
        power=found,
        random_auc=(0.5, float(np.sqrt((d + 1) / (12 * p * (d - p))))),
        random_best_p=(p / d, float(np.sqrt((d - p) ** 2 / (d**2 * (d - 1))))),
        no_model_auc=no_model[0],
        no_model_best_p=no_model[1],
    )


def _auc_and_best(scores: NDArray, mask: NDArray) -> tuple[float, float]:
    p, d = mask.sum(), len(mask)
    auc = (rankdata(scores)[mask].sum() - p * (p + 1) / 2) / (p * (d - p))
    edge = np.sort(scores)[-p]
    above, ties = scores > edge, scores == edge
    # of those that tie at the edge, as many as there are places, drawn at random
    share = (p - above.sum()) / ties.sum()
    return float(auc), float((mask[above].sum() + share * mask[ties].sum()) / p)
