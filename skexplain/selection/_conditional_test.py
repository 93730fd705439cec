"""Does a column tell anything about y that the others do not? A p-value for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, t

from .._columns import Groups
from .._explain import importances
from ..attributions import ConditionalPermutation
from ..explanation import Importances

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ConditionalTest:
    """What `conditional_test` returns.

    Attributes
    ----------
    importances : Importances
        Rises of the held-out loss, with their standard errors.
    """

    importances: Importances

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, or groups."""
        return self.importances.names

    @property
    def pvalues(self) -> NDArray:
        """Of the rise, above 0 by Student's t, ``(n_features,)``; 1 where nothing changed, as for constant columns."""
        rise, error = self.importances.signed, self.importances.error
        statistic = np.divide(rise, error, out=np.where(rise > 0, np.inf, -np.inf), where=error > 0)
        return t.sf(statistic, self.importances.n_rows - 1)

    @property
    def adjusted(self) -> NDArray:
        """P-values after Benjamini and Hochberg, ``(n_features,)``: the least q at which the column is selected."""
        return false_discovery_control(self.pvalues)

    def to_frame(self) -> pd.DataFrame:
        """One row a column of the data, the least p-value first."""
        import pandas as pd

        columns = {
            "feature": self.names,
            "rise": self.importances.signed,
            "error": self.importances.error,
            "pvalue": self.pvalues,
            "adjusted": self.adjusted,
        }
        return pd.DataFrame(columns).sort_values("pvalue", kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        p, q = self.pvalues, self.adjusted
        shown = np.argsort(p, kind="stable")[:10]
        width = max(len(str(self.names[j])) for j in shown)
        lines = [f"{self.names[j]!s:<{width}}  p {p[j]:.2g}, adjusted {q[j]:.2g}" for j in shown]
        rest = len(p) - len(shown)
        return "\n".join(lines + ([f"and {rest} more"] if rest else []))


def conditional_test(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    attribution: ConditionalPermutation | None = None,
    groups: Groups | None = None,
    feature_names: Sequence[str] | None = None,
    random_state: Any = None,
) -> ConditionalTest:
    """Test for each column, or group, whether it tells anything about y that the others do not.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Any that scikit-learn can clone; its clones are trained on folds. The better it predicts, the more is found.
    X : array-like or DataFrame of shape (n, n_columns)
    y : array-like of shape (n,)
    attribution : ConditionalPermutation, default=None
        Folds, draws, and what predicts columns from each other. None: its defaults.
    groups : dict of str to list of columns, or "correlated", default=None
        Columns that are tested together; columns not named stay alone.
    feature_names : sequence of str, default=None
    random_state : int, RandomState or None, default=None

    Returns
    -------
    ConditionalTest

    Raises
    ------
    TypeError
        For another strategy.
    ValueError, UnsupportedModelError
        As `skexplain.attributions.ConditionalPermutation` does.

    See Also
    --------
    FDRSelector : selects by these p-values.

    Notes
    -----
    If a column tells nothing beyond the others, and is drawn from its distribution given these, then the drawn and the
    true column can be exchanged, and the expected rise of the loss of a network that has seen neither is 0. The test is
    one-sided, of the mean rise over held-out rows against its standard error. It is as good as the model that draws the
    column: with ``conditional="linear"`` for columns that are about jointly normal. Few rows (fewer than 100) make the
    normal approximation rough.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from skexplain.datasets import make_correlated_blocks
    >>> from skexplain.selection import conditional_test
    >>> rows = make_correlated_blocks(500, 6, n_blocks=2, n_important=2, random_state=0)
    >>> result = conditional_test(LinearRegression(), rows.data, rows.target, random_state=0)
    >>> sorted(result.to_frame().feature[:2])  # the first of each block
    ['x0', 'x3']
    """
    strategy = ConditionalPermutation() if attribution is None else attribution
    if not isinstance(strategy, ConditionalPermutation):
        raise TypeError(
            f"attribution={strategy!r} does not make a test; pass a ConditionalPermutation of skexplain.attributions, "
            "or None."
        )
    return ConditionalTest(
        importances(
            estimator,
            X,
            y,
            attribution=strategy,
            groups=groups,
            feature_names=feature_names,
            random_state=random_state,
        )
    )
