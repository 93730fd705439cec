"""Data whose columns are independent, so that Shapley values have closed forms.

Of independent columns the conditional and the marginal Shapley values, of the target's mean given the row, are the
same.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import sici
from sklearn.datasets import make_friedman1 as sklearn_friedman1
from sklearn.datasets import make_moons as sklearn_moons
from sklearn.utils import Bunch
from sklearn.utils.validation import check_scalar

from ._truth import check_shape, generator, known


def make_linear(
    n_samples: int = 500, n_features: int = 10, *, n_important: int = 3, noise: float = 0.1, random_state: Any = None
) -> Bunch:
    """A linear target: what every method must get right.

    ``y = sum_j coef_j x_j + noise * N(0, 1)``, x independent N(0, 1), ``coef_j`` of size 1 to 3 and either sign.

    Parameters
    ----------
    n_samples, n_features : int
    n_important : int, default=3
        Columns with a coefficient, the first ones.
    noise : float, default=0.1
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        With ``coef`` ``(n_features,)`` and the exact ``shapley_values`` ``(n_samples, n_features)``,
        ``coef_j (x_j - E x_j)``, where ``E x_j = 0``.

    References
    ----------
    E. Štrumbelj, I. Kononenko, "Explaining prediction models and individual predictions with feature contributions",
    Knowledge and Information Systems 41, 2014 (contributions of a linear model).

    Examples
    --------
    >>> from skexplain.datasets import make_linear
    >>> truth = make_linear(random_state=0)
    >>> truth.data.shape, truth.important.nonzero()[0]
    ((500, 10), array([0, 1, 2]))
    """
    check_scalar(n_important, "n_important", Integral, min_val=1)
    check_shape(n_samples, n_features, n_important, noise=noise)
    rng = generator(random_state)
    X, coef = rng.normal(size=(n_samples, n_features)), np.zeros(n_features)
    coef[:n_important] = rng.choice([-1, 1], n_important) * rng.uniform(1, 3, n_important)
    y = X @ coef + noise * rng.normal(size=n_samples)
    formula = "y = sum_j coef_j x_j + noise * N(0, 1)"
    return known(X, y, np.arange(n_important), formula, coef=coef, shapley_values=coef * X)


def make_xor(
    n_samples: int = 500, n_features: int = 10, *, n_important: int = 2, flip_y: float = 0.0, random_state: Any = None
) -> Bunch:
    """Two classes that no column tells apart alone: the sign of a product.

    ``y = 1 if prod_j x_j > 0 else 0`` over the important columns, x independent, uniform in [-1, 1].

    Parameters
    ----------
    n_samples, n_features : int
    n_important : int, default=2
        Columns of the product, the first ones, at least 2.
    flip_y : float, default=0
        Share of the labels that are drawn anew.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        With the exact ``shapley_values`` of the probability of class 1: fewer columns than all of the product tell
        nothing, so each has an equal part, ``(1 - flip_y) (s - 1/2) / n_important`` for the class s without flips.

    References
    ----------
    J. Chen, L. Song, M. Wainwright, M. Jordan, "Learning to explain: an information-theoretic perspective on model
    interpretation", ICML 2018 (two columns, with a softer edge).

    Examples
    --------
    >>> from skexplain.datasets import make_xor
    >>> truth = make_xor(random_state=0)
    >>> bool(((truth.data[:, 0] * truth.data[:, 1] > 0) == truth.target).all())
    True
    """
    check_scalar(n_important, "n_important", Integral, min_val=2)
    check_shape(n_samples, n_features, n_important)
    check_scalar(flip_y, "flip_y", Real, min_val=0, max_val=1)
    rng = generator(random_state)
    X = rng.uniform(-1, 1, size=(n_samples, n_features))
    clean = (np.prod(X[:, :n_important], axis=1) > 0).astype(int)
    y = np.where(rng.random(n_samples) < flip_y, rng.integers(2, size=n_samples), clean)
    phi = np.zeros(X.shape)
    phi[:, :n_important] = (1 - flip_y) * (clean[:, None] - 0.5) / n_important
    formula = "y = 1 if the product of the important columns is positive, else 0"
    return known(X, y, np.arange(n_important), formula, shapley_values=phi)


#: Terms of `make_additive` with their mean and variance for a normal column.
TERMS: tuple[tuple[Callable[[NDArray], NDArray], float, float], ...] = (
    (lambda x: np.sin(2 * x), 0.0, (1 - np.exp(-8)) / 2),
    (np.abs, np.sqrt(2 / np.pi), 1 - 2 / np.pi),
    (lambda x: x, 0.0, 1.0),
    (lambda x: np.exp(-x), np.exp(0.5), np.exp(2) - np.exp(1)),
)


def make_additive(n_samples: int = 500, n_features: int = 10, *, noise: float = 0.1, random_state: Any = None) -> Bunch:
    """A sum of bent functions of single columns.

    ``y = g(sin 2x_0) + g(|x_1|) + g(x_2) + g(exp(-x_3)) + noise * N(0, 1)``, x independent N(0, 1), where g subtracts
    the mean and divides by the standard deviation, so that the four columns matter alike.

    Parameters
    ----------
    n_samples, n_features : int
        At least 4 columns.
    noise : float, default=0.1
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        With the exact ``shapley_values`` ``(n_samples, n_features)``: the terms.

    References
    ----------
    J. Chen, L. Song, M. Wainwright, M. Jordan, "Learning to explain: an information-theoretic perspective on model
    interpretation", ICML 2018: the four shapes, there with weights under which the sine hides the other three.

    Examples
    --------
    >>> import numpy as np
    >>> from skexplain.datasets import make_additive
    >>> truth = make_additive(noise=0, random_state=0)
    >>> bool(np.allclose(truth.shapley_values.sum(axis=1), truth.target))
    True
    """
    check_shape(n_samples, n_features, len(TERMS), noise=noise)
    rng = generator(random_state)
    X = rng.normal(size=(n_samples, n_features))
    phi = np.zeros(X.shape)
    for j, (f, mean, variance) in enumerate(TERMS):
        phi[:, j] = (f(X[:, j]) - mean) / np.sqrt(variance)
    y = phi.sum(axis=1) + noise * rng.normal(size=n_samples)
    formula = "y = g(sin 2x0) + g(|x1|) + g(x2) + g(exp(-x3)) + noise * N(0, 1), g: mean 0, variance 1"
    return known(X, y, np.arange(len(TERMS)), formula, shapley_values=phi)


def make_interactions(
    n_samples: int = 500, n_features: int = 10, *, n_pairs: int = 2, noise: float = 0.1, random_state: Any = None
) -> Bunch:
    """Products of pairs only: each column alone is uncorrelated with the target.

    ``y = x_0 x_1 + x_2 x_3 + ... + noise * N(0, 1)``, x independent N(0, 1). The first split of a tree gains nothing in
    expectation; forests find the columns all the same where there are rows enough.

    Parameters
    ----------
    n_samples, n_features : int
    n_pairs : int, default=2
    noise : float, default=0.1
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        With the exact ``shapley_values``: half of its product for each column of a pair, since one without the other
        tells nothing of the mean.

    References
    ----------
    L. Breiman, "Random forests", Machine Learning 45, 2001 (importances of columns that matter only together).

    Examples
    --------
    >>> from skexplain.datasets import make_interactions
    >>> make_interactions(random_state=0).important.nonzero()[0]
    array([0, 1, 2, 3])
    """
    check_scalar(n_pairs, "n_pairs", Integral, min_val=1)
    check_shape(n_samples, n_features, 2 * n_pairs, noise=noise)
    rng = generator(random_state)
    X = rng.normal(size=(n_samples, n_features))
    phi = np.zeros(X.shape)
    products = X[:, 0 : 2 * n_pairs : 2] * X[:, 1 : 2 * n_pairs : 2]
    phi[:, : 2 * n_pairs] = np.repeat(products, 2, axis=1) / 2
    y = products.sum(axis=1) + noise * rng.normal(size=n_samples)
    formula = "y = x0 x1 + x2 x3 + ... + noise * N(0, 1)"
    return known(X, y, np.arange(2 * n_pairs), formula, shapley_values=phi)


def make_moons(n_samples: int = 500, n_features: int = 10, *, noise: float = 0.2, random_state: Any = None) -> Bunch:
    """scikit-learn's two moons in the first two columns, and columns of noise.

    A point ``(cos t, sin t)`` or ``(1 - cos t, 1/2 - sin t)``, t in [0, pi], plus ``noise * N(0, 1)``; the other
    columns are N(0, 1). A bent boundary that a network must find among columns that say nothing.

    Parameters
    ----------
    n_samples, n_features : int
    noise : float, default=0.2
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch

    See Also
    --------
    sklearn.datasets.make_moons

    References
    ----------
    F. Pedregosa et al., "Scikit-learn: machine learning in Python", JMLR 12, 2011.

    Examples
    --------
    >>> from skexplain.datasets import make_moons
    >>> make_moons(n_features=20, random_state=0).data.shape
    (500, 20)
    """
    check_shape(n_samples, n_features, 2, noise=noise)
    rng = generator(random_state)
    moons, y = sklearn_moons(n_samples, noise=noise, random_state=int(rng.integers(2**31)))
    X = np.concatenate([moons, rng.normal(size=(n_samples, n_features - 2))], axis=1)
    return known(X, y, np.arange(2), "(cos t, sin t) or (1 - cos t, 1/2 - sin t), plus noise * N(0, 1)")


def make_friedman1(
    n_samples: int = 500, n_features: int = 200, *, noise: float = 1.0, random_state: Any = None
) -> Bunch:
    """Friedman's first problem among many columns of noise.

    ``y = 10 sin(pi x_0 x_1) + 20 (x_2 - 1/2)^2 + 10 x_3 + 5 x_4 + noise * N(0, 1)``, x independent, uniform in [0, 1].

    Parameters
    ----------
    n_samples : int
    n_features : int, default=200
        At least 5.
    noise : float, default=1
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        With the exact ``shapley_values`` ``(n_samples, n_features)``.

    See Also
    --------
    sklearn.datasets.make_friedman1

    Notes
    -----
    A column with a term of its own gets the term less its mean. For the pair, with ``g = 10 sin(pi x_0 x_1)``,
    ``h(x) = E g given one of them = 10 (1 - cos pi x) / (pi x)`` and ``E g = (10 / pi) Cin(pi)``, where
    ``Cin(z) = gamma + log z - Ci(z)``: ``phi_0 = (h(x_0) - E g) / 2 + (g - h(x_1)) / 2``.

    References
    ----------
    J. Friedman, "Multivariate adaptive regression splines", Annals of Statistics 19, 1991.

    Examples
    --------
    >>> from skexplain.datasets import make_friedman1
    >>> make_friedman1(random_state=0).important.sum()
    np.int64(5)
    """
    check_shape(n_samples, n_features, 5, noise=noise)
    X, y = sklearn_friedman1(
        n_samples, n_features, noise=noise, random_state=int(generator(random_state).integers(2**31))
    )
    phi = np.zeros(X.shape)
    g = 10 * np.sin(np.pi * X[:, 0] * X[:, 1])
    mean = 10 / np.pi * (np.euler_gamma + np.log(np.pi) - sici(np.pi)[1])
    alone = _mean_of_sine(X[:, :2])
    phi[:, :2] = (alone - mean) / 2 + (g[:, None] - alone[:, ::-1]) / 2
    phi[:, 2] = 20 * (X[:, 2] - 0.5) ** 2 - 20 / 12
    phi[:, 3:5] = np.array([10, 5]) * (X[:, 3:5] - 0.5)
    formula = "y = 10 sin(pi x0 x1) + 20 (x2 - 1/2)^2 + 10 x3 + 5 x4 + noise * N(0, 1)"
    return known(X, y, np.arange(5), formula, shapley_values=phi)


def _mean_of_sine(x: NDArray) -> NDArray:
    """Mean of ``10 sin(pi x t)`` over t in [0, 1]; ``1 - cos`` written so that it keeps its digits near 0."""
    return 10 * np.sin(np.pi * x / 2) * np.sinc(x / 2)
