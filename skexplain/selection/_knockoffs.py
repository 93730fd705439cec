"""Gaussian knockoffs: columns that look like the true ones and have nothing to do with y."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.covariance import LedoitWolf
from sklearn.utils import check_array

from .._subject import seed_of

#: Least eigenvalue of the correlations at which columns count as determined by each other.
COLLINEAR = 1e-8
#: Most rounds over the columns when the knockoffs' distances are chosen, and change at which they end.
ROUNDS, SETTLED = 100, 1e-6
#: Beside the seed, so that noise is independent of data that were drawn with the same one.
X_TILDE = 0x7E


def gaussian_knockoffs(X: ArrayLike, *, random_state: Any = None) -> NDArray:
    """A knockoff of each column, made without y.

    Exchanging a column and its knockoff leaves means and covariances of all 2p columns as they are. So a column that
    tells nothing about y beyond the others looks to any learner as its knockoff does, and the knockoffs that are called
    important count the columns that are called so in error.

    Parameters
    ----------
    X : array-like of shape (n, n_columns)
        About normal, for more than the second moments to agree.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    ndarray of shape (n, n_columns)
        Constant columns are their own knockoffs.

    Raises
    ------
    ValueError
        For NaN, and columns that others determine: their knockoffs would be the columns themselves.

    See Also
    --------
    FDRSelector : with ``method="knockoffs"`` selects by them.

    Notes
    -----
    Given x they are normal, with mean ``x - x Σ^-1 S`` and covariance ``2 S - S Σ^-1 S``, for the correlations Σ (of
    Ledoit and Wolf, so that there may be fewer rows than columns) and a diagonal S. The larger S, the less a knockoff
    resembles its column, and the more is found. S maximises ``log det(2 Σ - S) + log det S``, the entropy of all 2p
    columns, one entry after the other: within blocks of correlated columns equal or semidefinite choices make columns
    and knockoffs determine each other, which hides what is important. Cost: some inverses of Σ.

    References
    ----------
    E. Candès, Y. Fan, L. Janson, J. Lv, "Panning for gold: model-X knockoffs for high dimensional controlled variable
    selection", JRSS B 80, 2018, sec. 3.4.
    J. Gimenez, J. Zou, "Improving the stability of the knockoff procedure: multiple simultaneous knockoffs and entropy
    maximization", AISTATS 2019.
    A. Spector, L. Janson, "Powerful knockoffs via minimizing reconstructability", Annals of Statistics 50, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skexplain.selection import gaussian_knockoffs
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> knockoffs = gaussian_knockoffs(X, random_state=0)
    >>> np.abs(np.corrcoef(X.T, knockoffs.T)[2:, :2]) < 0.1  # independent columns have independent knockoffs
    array([[ True,  True],
           [ True,  True]])
    """
    values = check_array(X, dtype=np.float64, ensure_min_samples=2, input_name="X")
    spread = values.std(axis=0)
    varies = spread > 1e-12 * np.abs(values).max(axis=0)
    knockoffs = values.copy()
    if varies.any():
        mean = values[:, varies].mean(axis=0)
        Z = (values[:, varies] - mean) / spread[varies]
        _refuse_collinear(Z, np.flatnonzero(varies))
        # not the stream of the seed alone, which X itself may have been drawn from
        rng = np.random.default_rng([seed_of(None, random_state), X_TILDE])
        knockoffs[:, varies] = mean + spread[varies] * _of_standardised(Z, rng)
    return knockoffs


def _of_standardised(Z: NDArray, rng: np.random.Generator) -> NDArray:
    sigma = LedoitWolf(assume_centered=True).fit(Z).covariance_
    S = np.diag(most_entropy(sigma))
    A = np.linalg.solve(sigma, S)
    eigenvalues, V = np.linalg.eigh(2 * S - S @ A)
    root = V * np.sqrt(np.maximum(eigenvalues, 0))
    return Z - Z @ A + rng.normal(size=Z.shape) @ root.T


def most_entropy(sigma: NDArray) -> NDArray:
    """The diagonal s that maximises ``log det(2 sigma - diag(s)) + sum log s``, ``(p,)``.

    With ``g = [(2 sigma - diag(s))^-1]_jj`` the best s_j, the others as they are, is ``(1 + g s_j) / (2 g)``.
    """
    s = np.full(len(sigma), np.linalg.eigvalsh(sigma)[0])
    for _ in range(ROUNDS):
        before, inverse = s.copy(), np.linalg.inv(2 * sigma - np.diag(s))
        for j in range(len(s)):
            g = inverse[j, j]
            step = (1 + g * s[j]) / (2 * g) - s[j]
            s[j] += step
            inverse += np.outer(inverse[j], inverse[j]) * step / (1 - step * g)
        if np.abs(s - before).max() < SETTLED:
            break
    return s


def _refuse_collinear(Z: NDArray, columns: NDArray) -> None:
    n, p = Z.shape
    correlation = Z.T @ Z / n
    if n > p:
        eigenvalues, V = np.linalg.eigh(correlation)
        guilty = np.abs(V[:, 0]) > 1e-3 if eigenvalues[0] < COLLINEAR else np.zeros(p, bool)
    else:  # all are determined by the others, if by nothing but their number; only copies tell
        guilty = (np.abs(correlation - np.eye(p)) > 1 - COLLINEAR).any(axis=1)
    if guilty.any():
        raise ValueError(
            f"Columns {columns[guilty][:10].tolist()} determine each other, so that their knockoffs would be copies of "
            "them. Leave out one of these, or use method='conditional', by which neither counts."
        )


def knockoff_threshold(W: NDArray, q: float) -> float:
    """The least t at which ``(1 + #{W_j <= -t}) / #{W_j >= t} <= q``, infinite if there is none: knockoff+."""
    t = np.sort(np.abs(W[W != 0]))
    ratio = (1 + (-t[:, None] >= W).sum(axis=1)) / np.maximum(1, (t[:, None] <= W).sum(axis=1))
    return float(t[np.argmax(ratio <= q)]) if (ratio <= q).any() else np.inf
