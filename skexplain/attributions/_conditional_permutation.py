"""Conditional permutation importance, cross-fitted: what a column tells beyond the others, tested on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import check_scalar

from .._jobs import in_turn
from ._base import Attribution
from ._conditional import Model, Shuffle, codes_of, conditional_shuffles
from ._falls import Falls, error_over_rows, spacing
from ._folds import check_has_loss, check_trainable, part_of, splits_of, without_importances
from ._losses import losses
from ._permutation import Permutation


class ConditionalPermutation(Attribution):
    """Rise of the held-out loss when a column is drawn anew given the others, of an estimator trained on other rows.

    It asks whether a column tells anything about y that the others do not. If it does not, the expected value is 0, so
    that value and standard error make a test: `skexplain.selection.conditional_test` gives the p-values,
    `skexplain.selection.FDRSelector` selects by them. Works for any estimator or pipeline that scikit-learn can clone.

    Parameters
    ----------
    cv : int or splitter, default=5
        Folds, stratified for classifiers and drawn with the random state; or a splitter of scikit-learn, or an
        iterable of pairs of indices.
    n_repeats : int, default=10
        Draws of each column.
    conditional : {"linear", "forest"}, default="linear"
        What draws a column: ridge and logistic regressions on the others, or random forests, for columns that depend on
        each other otherwise than along lines.
    n_jobs : int, default=None
        Folds at the same time, in processes that share the processors among them, as in scikit-learn.

    Raises
    ------
    UnsupportedModelError
        For what cannot be trained anew: raw networks, `from_fitted`, frozen estimators.
    ValueError
        For classifiers without probabilities; fewer than 20 rows, numbers with gaps, or text or codes of more than 50
        different values; a fold that trains without some class, or holds out fewer than two rows.

    See Also
    --------
    Permutation : with ``conditional=True`` the same of one trained network, on the rows that it is given.
    LOCO : asks the same by training without the column, one fit for each.

    Notes
    -----
    In each fold a clone is trained, and models that predict each column from the others, on the same rows; the
    residuals of the held-out rows are exchanged among these, as in ``Permutation(conditional=True)``. Values are
    signed, and scatter around 0 for columns that add nothing. Standard errors are over held-out rows, each counted
    where it gets and where it gives a residual. That folds share training rows is not in them; for a column that
    adds nothing it makes no difference, as its expected value is 0 whatever was trained. How often such columns
    have p < 0.05 is measured in :doc:`/guide/selecting`.

    Axioms: dummy, exactly; symmetry up to the standard error. Not complete. On a linear target of normal columns and
    with many rows the value under squared error is ``2 w_j^2 Var(x_j | x_-j)``. Biased where a column depends on the
    others in a way that the conditional model does not see: then it is drawn too freely, and counts although it tells
    nothing. Of two columns that are copies of each other neither counts; group them.

    Cost: ``cv`` fits, ``cv * n_repeats`` predictions of a fold's rows for each column; and for the conditional models
    ``8 cv`` inverses of a matrix of the size of the columns, or ``cv`` forests for each column.

    References
    ----------
    D. S. Watson, M. N. Wright, "Testing conditional independence in supervised learning algorithms", Machine Learning
    110, 2021.
    A. Chamma, D. Engemann, B. Thirion, "Statistically valid variable importance assessment through conditional
    permutations", NeurIPS 2023.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> import skexplain
    >>> from skexplain.attributions import ConditionalPermutation
    >>> from skexplain.datasets import make_correlated_blocks
    >>> rows = make_correlated_blocks(500, 10, n_blocks=2, n_important=2, random_state=0)
    >>> result = skexplain.importances(
    ...     LinearRegression(), rows.data, rows.target, attribution=ConditionalPermutation(), random_state=0
    ... )
    >>> (result.signed > 3 * result.error).nonzero()[0]  # of each block the first matters
    array([0, 5])
    """

    local = False
    stochastic = True
    needs_y = True
    needs_gradient = False
    needs_estimator = True

    def __init__(
        self, *, cv: Any = 5, n_repeats: int = 10, conditional: Model = "linear", n_jobs: int | None = None
    ) -> None:
        self.cv = cv
        self.n_repeats = n_repeats
        self.conditional = conditional
        self.n_jobs = n_jobs

    def n_fits(self, n_columns: int) -> int:
        """How often it trains, for a number of folds."""
        return self.cv

    def retrain(
        self, estimator: Any, X: Any, y: NDArray, groups: Sequence[NDArray], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Mean over held-out rows of ``loss(with the group drawn anew) - loss``."""
        check_scalar(self.n_repeats, "n_repeats", Integral, min_val=1)
        check_trainable(estimator, "attribution='conditional_permutation'", "use attribution='permutation'")
        check_has_loss(estimator, y, "use another, such as sklearn.calibration.CalibratedClassifierCV(estimator)")
        splits = splits_of(self.cv, is_classifier(estimator), X, y, int(rng.integers(2**31)))
        _check_splits(splits, self.cv, y if is_classifier(estimator) else None)
        seeds = rng.integers(2**31, size=len(splits))
        tasks = (
            (estimator, X, y, *split, groups, int(seed), self.n_repeats, self.conditional)
            for split, seed in zip(splits, seeds, strict=True)
        )
        means, some = zip(*in_turn(self.n_jobs, _of_fold, tasks), strict=True)
        held_out = np.array([len(test) for _, test in splits])
        error = error_over_rows(np.concatenate(some, axis=2), self.n_repeats, int(held_out.sum()))
        return np.average(means, axis=0, weights=held_out), error


def _check_splits(splits: Sequence[tuple[NDArray, NDArray]], cv: Any, labels: NDArray | None) -> None:
    for k, (train, test) in enumerate(splits):
        if len(test) < 2:
            raise ValueError(
                f"cv={cv}: fold {k} holds out {len(test)} row(s), between which nothing can be exchanged. Use fewer "
                "folds, or more rows."
            )
        absent = [] if labels is None else np.setdiff1d(labels, labels[train]).tolist()
        if absent:
            raise ValueError(
                f"cv={cv}: fold {k} trains without the class(es) {absent}. Use a number of folds, which are "
                "stratified, or leave out classes of a single row."
            )


def _of_fold(
    estimator: Any,
    X: Any,
    y: NDArray,
    train: NDArray,
    test: NDArray,
    groups: Sequence[NDArray],
    seed: int,
    n_repeats: int,
    conditional: Model,
) -> tuple[NDArray, NDArray]:
    """Mean falls ``(n_groups,)`` on the held-out rows, and the sums of `error_over_rows` of some of them."""
    from .._subject import subject_of  # which looks strategies up by their names

    model = without_importances(estimator, seed).fit(part_of(X, train, np.arange(X.shape[1])), y[train])
    s = subject_of(model, X, None, Permutation(), None, "margin", None, None, seed)
    members = [np.concatenate([s.groups[int(j)] for j in g]) for g in groups]
    rng = np.random.default_rng(seed)
    codes = codes_of(s.network, s.rows)
    shuffles = conditional_shuffles(s.rows, members, rng, codes, conditional, [(train, test)])
    of_test = [partial(_among, test, shuffle, len(s.rows)) for shuffle in shuffles]
    step = spacing(len(s.rows), len(groups))
    falls = Falls(s.network, s.rows[test], members, losses(s.network, y[test]), None, False, step)
    repeats = [falls(of_test, seeds) for seeds in rng.integers(2**63, size=(n_repeats, len(groups)))]
    return np.mean([mean for mean, _ in repeats], axis=0), np.sum([some for _, some in repeats], axis=0)


def _among(test: NDArray, shuffle: Shuffle, n: int, order: NDArray, rng: np.random.Generator) -> NDArray:
    """The held-out rows of a shuffle of n rows that exchanges only these."""
    every = np.arange(n)
    every[test] = test[order]
    return shuffle(every, rng)[test]
