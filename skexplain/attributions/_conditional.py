"""Conditional shuffles: of a column, only what the other columns do not predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from .._network import Network

#: What predicts columns from each other.
Model = Literal["linear", "forest"]

#: Most values of a column of numbers that is resampled instead of being predicted as a number.
DISCRETE = 10
#: Most patterns of a group's discrete columns that are resampled together.
PATTERNS = 50
#: Fewest rows from which columns are predicted.
FEWEST_ROWS = 20
#: Penalties that the ridge regression chooses among, for standardised columns.
ALPHAS = np.logspace(-3, 4, 8)

#: Of forests that predict columns: leaves that are means rather than single rows.
FOREST = {"n_estimators": 50, "min_samples_leaf": 5, "max_features": 1 / 3}

#: From an order of the rows, and a generator, to other values of some columns, ``(n, n_columns)``.
Shuffle = Callable[[NDArray, np.random.Generator], NDArray]
#: Rows to fit on and rows to predict.
Folds = Sequence[tuple[NDArray, NDArray]]


def conditional_shuffles(
    X: NDArray,
    groups: Sequence[NDArray],
    rng: np.random.Generator,
    codes: NDArray | None = None,
    model: Model = "linear",
    folds: Folds | None = None,
) -> list[Shuffle]:
    """For each group of columns a function that draws it given the other columns.

    A number is the part that the others predict plus a residual, and the residuals are shuffled. A discrete column
    is a quantile of its predicted distribution, and the quantiles are shuffled. Predictions for a row are made by
    models that were fitted without it.

    Parameters
    ----------
    X : ndarray of shape (n, *features)
    groups : list of int ndarray
    rng : Generator
    codes : int ndarray, optional
        Flat columns of numbers that are codes of levels, and so discrete, however many they are.
    model : {"linear", "forest"}
        Numbers are predicted by ridge regressions and levels by logistic ones; or both by random forests.
    folds : sequence of pairs of int ndarray, optional
        Rows to fit these on and rows to predict; what is drawn for rows that are not predicted means nothing. None:
        each fifth of the rows is predicted from the others.

    Raises
    ------
    ValueError
        For fewer than 20 rows, numbers with gaps, text or codes with more than 50 different values, or an unknown
        model.
    """
    if model not in get_args(Model):
        raise ValueError(f"conditional={model!r}; choose one of {list(get_args(Model))}.")
    if len(X) < FEWEST_ROWS:
        raise ValueError(
            f"Columns are drawn given the others, which takes at least {FEWEST_ROWS} rows; X has {len(X)}. Pass more "
            "rows, or use Permutation(conditional=False)."
        )
    flat = X.reshape(len(X), -1)
    coded = np.isin(np.arange(flat.shape[1]), [] if codes is None else codes)
    columns = [_Column(flat[:, j], j, bool(coded[j])) for j in range(flat.shape[1])]
    Z = np.concatenate([c.predictors for c in columns], axis=1)
    owner = np.repeat(np.arange(len(columns)), [c.predictors.shape[1] for c in columns])
    own = [np.flatnonzero(np.isin(owner, g)) for g in groups]
    seed = int(rng.integers(2**31))
    folds = list(KFold(5, shuffle=True, random_state=seed).split(flat)) if folds is None else folds
    number = np.array([c.codes is None for c in columns])[owner]
    levels: Any = LogisticRegression(max_iter=1000)
    if model == "linear":
        residuals = ridge_residuals(Z, own, folds)
    else:
        residuals = _forest_residuals(Z, own, number, folds, seed)
        levels = RandomForestClassifier(**FOREST, random_state=seed)
    return [
        _shuffle(flat[:, g], [columns[int(j)] for j in g], np.delete(Z, S, axis=1), residuals[:, S], folds, levels)
        for g, S in zip(groups, own, strict=True)
    ]


def codes_of(network: Network, X: NDArray) -> NDArray | None:
    """The flat columns that the network looks up, whose numbers are names."""
    embedded = network.embedded(X)
    return None if embedded is None else embedded.owners[embedded.n_numbers :]


def ridge_residuals(Z: NDArray, groups: Sequence[NDArray], folds: Folds) -> NDArray:
    """What is left of each column of Z when a ridge regression on the columns outside its group has predicted it.

    Each row is predicted by a regression on the other folds, with the penalty that does best at this. With
    ``Theta = (Z'Z + alpha I)^-1``, inverted once, the residuals of a group S are ``Z Theta_S Theta_SS^-1``: by the
    inverse of a block matrix, the coefficients of the others are ``-Theta_RS Theta_SS^-1``.
    """
    best, least = np.zeros(Z.shape), np.full(Z.shape[1], np.inf)
    for alpha in ALPHAS:
        residuals = np.zeros(Z.shape)
        for train, test in folds:
            centre = Z[train].mean(axis=0)
            C = Z[train] - centre
            theta = np.linalg.inv(C.T @ C + alpha * np.eye(Z.shape[1]))
            product = (Z[test] - centre) @ theta
            for S in groups:
                residuals[np.ix_(test, S)] = np.linalg.solve(theta[np.ix_(S, S)], product[:, S].T).T
        error = (residuals**2).sum(axis=0)
        better = error < least
        best[:, better], least[better] = residuals[:, better], error[better]
    return best


def _forest_residuals(Z: NDArray, groups: Sequence[NDArray], number: NDArray, folds: Folds, seed: int) -> NDArray:
    """What is left of the columns of numbers when a forest on the columns outside their group has predicted them."""
    residuals = np.zeros(Z.shape)
    for S in groups:
        others, of_group = np.delete(Z, S, axis=1), S[number[S]]
        if not len(of_group) or not others.any():
            continue
        for train, test in folds:
            forest = RandomForestRegressor(**FOREST, random_state=seed)
            forest.fit(others[train], np.squeeze(Z[np.ix_(train, of_group)], axis=1 if len(of_group) == 1 else ()))
            predicted = forest.predict(others[test]).reshape(len(test), -1)
            residuals[np.ix_(test, of_group)] = Z[np.ix_(test, of_group)] - predicted
    return residuals


class _Column:
    """What is known of a column.

    Attributes
    ----------
    codes : int ndarray of shape (n,) or None
        Which of its values a discrete column has.
    numbers : ndarray of shape (n,)
        The values of a column that is not discrete.
    predictors : ndarray of shape (n, n_predictors)
        Standardised; of a discrete column all levels but one. Zeros where there is no spread.
    spread : ndarray of shape (n_predictors,)
        What they were divided by.
    """

    def __init__(self, values: NDArray, j: int, coded: bool) -> None:
        self.codes: NDArray | None = None
        if values.dtype.kind in "biuf" or all(isinstance(v, Number) for v in values):
            self.numbers = values.astype(np.float64)
            levels, codes = np.unique(self.numbers, return_inverse=True)
            if coded or len(levels) <= DISCRETE:
                self.codes = codes
            elif not np.isfinite(self.numbers).all():
                raise ValueError(
                    f"Columns are drawn given the others, but column {j} has numbers with gaps (NaN or infinity). Fill "
                    "them before, or use Permutation(conditional=False)."
                )
        else:
            seen: dict[str, int] = {}
            self.codes = np.array([seen.setdefault(repr(v), len(seen)) for v in values.tolist()])
        n_levels = 0 if self.codes is None else self.codes.max() + 1
        if n_levels > PATTERNS:
            raise ValueError(
                f"Columns are drawn given the others, but column {j} has {n_levels} different "
                f"values that are no numbers; at most {PATTERNS} can be predicted. Use Permutation(conditional=False)."
            )
        # one column for each level but the first
        raw = self.numbers[:, None] if self.codes is None else np.eye(self.codes.max() + 1)[self.codes][:, 1:]
        centred, spread = raw - raw.mean(axis=0), raw.std(axis=0)
        self.spread = np.where(spread > 1e-12 * np.abs(raw).max(axis=0, initial=0.0), spread, np.inf)
        self.predictors = centred / self.spread


def _shuffle(
    values: NDArray, columns: Sequence[_Column], others: NDArray, residuals: NDArray, folds: Folds, levels: Any
) -> Shuffle:
    """The shuffle of one group of columns, given the standardised others, and what these leave of the group's.

    Levels are predicted by clones of a classifier.
    """
    if not others.any():
        return lambda order, rng: values[order]
    number = np.array([c.codes is None for c in columns])
    parts: list[tuple[NDArray, Shuffle]] = []
    if number.any():
        owner = np.repeat(np.arange(len(columns)), [c.predictors.shape[1] for c in columns])
        at = np.flatnonzero(number)
        spread = np.concatenate([columns[int(k)].spread for k in at])
        numbers = np.stack([columns[int(k)].numbers for k in at], axis=1)
        # numbers that are constant to rounding stay as they are
        parts.append((at, _moved(numbers, residuals[:, np.isin(owner, at)] * np.where(np.isfinite(spread), spread, 0))))
    if not number.all():
        at = np.flatnonzero(~number)
        codes = np.stack([c.codes for c in columns if c.codes is not None], axis=1)
        # levels that exclude each other, such as those of a one-hot group, must be drawn together
        together = len(np.unique(codes, axis=0)) <= PATTERNS
        for k in [np.arange(len(at))] if together else np.arange(len(at))[:, None]:
            parts.append((at[k], _quantiles(values[:, at[k]], codes[:, k], others, folds, levels)))

    def shuffle(order: NDArray, rng: np.random.Generator) -> NDArray:
        new = np.empty(values.shape, dtype=np.float64 if values.dtype.kind in "biuf" else object)
        for at, draw in parts:
            new[:, at] = draw(order, rng)
        return new

    return shuffle


def _moved(numbers: NDArray, residuals: NDArray) -> Shuffle:
    """Numbers keep what was predicted of them, and their residuals are shuffled."""
    predicted = numbers - residuals
    # whole numbers, such as ages and codes, stay what they can be
    whole = (numbers == np.round(numbers)).all(axis=0)
    low, high = numbers.min(axis=0), numbers.max(axis=0)

    def draw(order: NDArray, rng: np.random.Generator) -> NDArray:
        new = predicted + residuals[order]
        return np.where(whole, np.clip(np.round(new), low, high), new)

    return draw


def _quantiles(values: NDArray, codes: NDArray, others: NDArray, folds: Folds, levels: Any) -> Shuffle:
    """The probabilities of patterns are predicted, and the patterns' places in their distribution shuffled."""
    _, first, pattern = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    pattern, rows = pattern.ravel(), np.arange(len(values))
    p = np.zeros((len(values), len(first)))
    for train, test in folds:
        known = np.unique(pattern[train])
        if len(known) == 1:
            p[test, known[0]] = 1
        else:
            p[np.ix_(test, known)] = clone(levels).fit(others[train], pattern[train]).predict_proba(others[test])
    upper = p.cumsum(axis=1)

    def draw(order: NDArray, rng: np.random.Generator) -> NDArray:
        place = upper[rows, pattern] - p[rows, pattern] * rng.random(len(rows))
        drawn = np.minimum((place[order][:, None] > upper).sum(axis=1), len(first) - 1)
        return values[first[drawn]]

    return draw
