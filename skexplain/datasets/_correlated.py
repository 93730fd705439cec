"""Data whose columns are correlated: Gaussian, so that conditional expectations are known."""

from __future__ import annotations

import math
from itertools import combinations
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.utils import Bunch
from sklearn.utils.validation import check_scalar

from ._truth import check_shape, generator, known

Signal = Literal["linear", "interactions", "both", "relu", "logistic"]
#: Sizes that coefficients are drawn from.
SIZES = (0.5, 1.0, 2.0, 3.0)
#: Most columns whose 2^d subsets are gone through.
MOST_COLUMNS = 15


def make_correlated_blocks(
    n_samples: int = 1000,
    n_features: int = 50,
    *,
    signal: Signal = "linear",
    n_blocks: int = 10,
    rho: float = 0.8,
    n_important: int = 20,
    snr: float = 4.0,
    random_state: Any = None,
) -> Bunch:
    """Blocks of correlated columns, of which some matter: neighbours of an important column look important too.

    x is Gaussian with variance 1 and correlation ``rho`` within a block, 0 between blocks. With coefficients b of size
    1/2, 1, 2 or 3 and either sign, ``Q(x) = sum over pairs j < k of important columns of b_jk x_j x_k``, and noise e:

    * "linear": ``y = x b + e``
    * "interactions": ``y = Q(x) + e``
    * "both": ``y = x b + Q(x) + e``
    * "relu": ``y = max(x b, 0) + e``
    * "logistic": classes, ``P(y = 1) = 1 / (1 + exp(-x b))``

    Parameters
    ----------
    n_samples, n_features : int
    signal : {"linear", "interactions", "both", "relu", "logistic"}, default="linear"
    n_blocks : int, default=10
        Divides ``n_features``.
    rho : float, default=0.8
        In [0, 1).
    n_important : int, default=20
        The first columns of all blocks, then the second ones, and so on: in each block some matter and some do not.
    snr : float, default=4
        Mean square of the signal divided by the variance of e.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        With ``coef`` (zeros for "interactions"), ``pair_coef`` ``(n_features, n_features)``, the b_jk above the
        diagonal, and ``cov``.

    References
    ----------
    A. Chamma, D. Engemann, B. Thirion, "Statistically valid variable importance assessment through conditional
    permutations", NeurIPS 2023, whose sizes (n = 1000, p = 50, 10 blocks, rho = 0.8) and kinds of signal these are.

    Examples
    --------
    >>> from skexplain.datasets import make_correlated_blocks
    >>> truth = make_correlated_blocks(random_state=0)
    >>> truth.important[:10].nonzero()[0]  # two of five columns of each block
    array([0, 1, 5, 6])
    """
    check_scalar(n_blocks, "n_blocks", Integral, min_val=1)
    check_scalar(n_important, "n_important", Integral, min_val=2 if signal in ("interactions", "both") else 1)
    check_shape(n_samples, n_features, n_important)
    check_scalar(rho, "rho", Real, min_val=0, max_val=1, include_boundaries="left")
    check_scalar(snr, "snr", Real, min_val=0, include_boundaries="neither")
    if signal not in get_args(Signal):
        raise ValueError(f"signal={signal!r}; choose one of {list(get_args(Signal))}.")
    size, rest = divmod(n_features, n_blocks)
    if rest:
        raise ValueError(f"n_blocks={n_blocks} does not divide n_features={n_features}; blocks must be of one size.")
    rng = generator(random_state)
    cov = np.kron(np.eye(n_blocks), np.full((size, size), rho) + (1 - rho) * np.eye(size))
    X = rng.normal(size=(n_samples, n_features)) @ np.linalg.cholesky(cov).T
    important = np.sort(np.arange(n_features).reshape(n_blocks, size).T.ravel()[:n_important])
    coef, pairs = np.zeros(n_features), np.zeros((n_features, n_features))
    if signal != "interactions":
        coef[important] = _coefficients(n_important, rng)
    if signal in ("interactions", "both"):
        j, k = np.array(list(combinations(important, 2))).T
        pairs[j, k] = _coefficients(len(j), rng)
    eta = X @ coef + np.einsum("ij,jk,ik->i", X, pairs, X)
    truth = {"coef": coef, "pair_coef": pairs, "cov": cov}
    if signal == "logistic":
        y = (rng.random(n_samples) < expit(eta)).astype(int)
        return known(X, y, important, "P(y = 1) = 1 / (1 + exp(-x b))", **truth)
    mean = np.maximum(eta, 0) if signal == "relu" else eta
    y = mean + np.sqrt(np.mean(mean**2) / snr) * rng.normal(size=n_samples)
    formulas = {"linear": "x b", "interactions": "Q(x)", "both": "x b + Q(x)", "relu": "max(x b, 0)"}
    return known(X, y, important, f"y = {formulas[signal]} + e", **truth)


def _coefficients(n: int, rng: np.random.Generator) -> NDArray:
    return rng.choice(SIZES, n) * rng.choice([-1, 1], n)


def make_gaussian(
    n_samples: int = 500,
    n_features: int = 5,
    *,
    rho: float = 0.5,
    quadratic: bool = True,
    noise: float = 0.1,
    random_state: Any = None,
) -> Bunch:
    """Correlated Gaussian columns and a function whose conditional Shapley values are known exactly.

    ``y = x b + x' Q x + noise * N(0, 1)``, x Gaussian with mean 0, variance 1 and correlation ``rho`` of all pairs; b
    is N(0, 1), and 0 for the last column; Q is symmetric with the entries N(0, 1/4), and 0 for the last column. That
    column matters to nobody who knows the others, and has conditional Shapley values all the same.

    Parameters
    ----------
    n_samples : int
    n_features : int, default=5
        2 to 15.
    rho : float, default=0.5
        In [0, 1).
    quadratic : bool, default=True
        False: Q = 0.
    noise : float, default=0.1
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        With ``shapley_values`` ``(n_samples, n_features)`` by `conditional_shapley`, ``coef``, ``quadratic``, ``mean``
        and ``cov``.

    References
    ----------
    K. Aas, M. Jullum, A. Løland, "Explaining individual predictions when features are dependent: more accurate
    approximations to Shapley values", Artificial Intelligence 298, 2021.

    Examples
    --------
    >>> from skexplain.datasets import make_gaussian
    >>> make_gaussian(random_state=0).shapley_values.shape
    (500, 5)
    """
    check_shape(n_samples, n_features, 2, noise=noise)
    check_scalar(rho, "rho", Real, min_val=0, max_val=1, include_boundaries="left")
    rng = generator(random_state)
    cov = np.full((n_features, n_features), float(rho)) + (1 - rho) * np.eye(n_features)
    coef, Q = rng.normal(size=n_features), rng.normal(size=(n_features, n_features)) / 2
    Q = np.triu(Q) + np.triu(Q, 1).T if quadratic else np.zeros_like(Q)
    coef[-1] = Q[-1] = Q[:, -1] = 0
    X = rng.normal(size=(n_samples, n_features)) @ np.linalg.cholesky(cov).T
    y = X @ coef + np.einsum("ij,jk,ik->i", X, Q, X) + noise * rng.normal(size=n_samples)
    mean = np.zeros(n_features)
    phi = conditional_shapley(X, mean=mean, cov=cov, coef=coef, quadratic=Q)
    truth = {"shapley_values": phi, "coef": coef, "quadratic": Q, "mean": mean, "cov": cov}
    return known(X, y, np.arange(n_features - 1), "y = x b + x' Q x + noise * N(0, 1)", **truth)


def conditional_shapley(
    X: ArrayLike, *, mean: ArrayLike, cov: ArrayLike, coef: ArrayLike, quadratic: ArrayLike | None = None
) -> NDArray:
    """Exact conditional Shapley values of a linear or quadratic function of Gaussian columns.

    The truth for strategies that replace columns by what the others make of them; those that replace them by what
    other rows have (marginal Shapley values) differ from it wherever columns are correlated.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        Rows to explain; at most 15 columns.
    mean : array-like of shape (n_features,)
    cov : array-like of shape (n_features, n_features)
        Mean and covariance, positive definite, of the columns.
    coef : array-like of shape (n_features,)
    quadratic : array-like of shape (n_features, n_features), default=None
        b and Q of ``f(x) = x b + x' Q x``. None: 0.

    Returns
    -------
    ndarray of shape (n, n_features)
        Rows add up to ``f(x) - E f``.

    Raises
    ------
    ValueError
        For shapes that do not fit, more than 15 columns, and a matrix that is no covariance.

    Notes
    -----
    ``v(S) = E[f(x) | x_S] = m b + m' Q m + trace(Q_RR C)`` for the others R, where m is x in S and
    ``mean_R + cov_RS cov_SS^-1 (x_S - mean_S)`` in R, and ``C = cov_RR - cov_RS cov_SS^-1 cov_SR``. The values are
    ``phi_j = sum over S without j of |S|! (d - |S| - 1)! / d! (v(S + j) - v(S))``. Cost: 2^d solutions.

    References
    ----------
    K. Aas, M. Jullum, A. Løland, "Explaining individual predictions when features are dependent: more accurate
    approximations to Shapley values", Artificial Intelligence 298, 2021, sec. 3.1.

    Examples
    --------
    >>> from skexplain.datasets import conditional_shapley
    >>> cov = [[1, 0.5], [0.5, 1]]
    >>> conditional_shapley([[2, 2]], mean=[0, 0], cov=cov, coef=[1, 0])  # x1 tells of x0
    array([[1.5, 0.5]])
    """
    X, mean, cov, coef = (np.asarray(v, dtype=np.float64) for v in (X, mean, cov, coef))
    d = len(coef)
    Q = np.zeros((d, d)) if quadratic is None else np.asarray(quadratic, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != d or mean.shape != (d,) or cov.shape != (d, d) or Q.shape != (d, d):
        raise ValueError(
            f"X, mean, cov, coef and quadratic have the shapes {X.shape}, {mean.shape}, {cov.shape}, {coef.shape} and "
            f"{Q.shape}; for d columns they must be (n, d), (d,), (d, d), (d,) and (d, d)."
        )
    if d > MOST_COLUMNS:
        raise ValueError(f"X has {d} columns, and all 2^{d} subsets are gone through; pass at most {MOST_COLUMNS}.")
    if not np.allclose(cov, cov.T) or np.linalg.eigvalsh(cov)[0] <= 0:
        raise ValueError("cov must be symmetric and positive definite, without columns that others determine.")
    members = (np.arange(2**d)[:, None] >> np.arange(d)) & 1 == 1
    v = np.array([_mean_given(X, S, mean, cov, coef, Q) for S in members])
    phi = np.zeros(X.shape)
    for j in range(d):
        without = np.flatnonzero(~members[:, j])
        s = members[without].sum(axis=1)
        weights = np.array([1 / (d * math.comb(d - 1, k)) for k in s])
        phi[:, j] = weights @ (v[without + 2**j] - v[without])
    return phi


def _mean_given(X: NDArray, S: NDArray, mean: NDArray, cov: NDArray, coef: NDArray, Q: NDArray) -> NDArray:
    """``E[f(x) | x_S]`` of each row."""
    R = ~S
    slope = np.linalg.solve(cov[np.ix_(S, S)], cov[np.ix_(S, R)])
    m = X.copy()
    m[:, R] = mean[R] + (X[:, S] - mean[S]) @ slope
    C = cov[np.ix_(R, R)] - cov[np.ix_(R, S)] @ slope
    return m @ coef + np.einsum("ij,jk,ik->i", m, Q, m) + np.trace(Q[np.ix_(R, R)] @ C)
