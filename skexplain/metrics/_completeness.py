"""Completeness: whether an explanation adds up."""

from __future__ import annotations

import numpy as np

from ..explanation import Explanation
from ._results import Score


def completeness(explanation: Explanation) -> Score:
    """How far the values of each row are from adding up to what there is to explain.

    ``|sum_j phi_j - (f(x) - base)|`` divided by the root mean square of ``f(x) - base`` over the rows. 0 is necessary
    for a complete strategy, and proves little: any values can be scaled until they add up.

    Parameters
    ----------
    explanation : Explanation
        By a strategy that is meant to add up.

    Returns
    -------
    Score
        Its control: values that are all 0.

    Raises
    ------
    ValueError
        For an explanation by a strategy that has no base value, or of rows whose outputs are all at it.

    References
    ----------
    M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep networks", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> from skexplain.metrics import completeness
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
    >>> explanation = skexplain.explain(net, X, attribution="integrated_gradients", random_state=0)
    >>> completeness(explanation).value < 1e-3
    True
    """
    due = explanation.predictions - explanation.base_values
    if np.isnan(due).any():
        raise ValueError(
            f"{explanation.strategy} has no base value, so its values need not add up; completeness is for strategies "
            "such as 'integrated_gradients' or 'expected_gradients'."
        )
    spread = np.sqrt(np.mean(due**2))
    if spread == 0:
        raise ValueError("The outputs of all rows are at the base value; there is nothing to add up to.")
    gap = np.abs(explanation.values.sum(axis=1) - due) / spread
    gap, nothing = (v.reshape(len(v), -1).mean(axis=1) for v in (gap, np.abs(due) / spread))
    return Score("Completeness gap", gap, no_model=float(nothing.mean()))
