"""Permutation importance: how much worse the network gets when a column is shuffled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer
from sklearn.utils.validation import check_scalar

from .._jobs import in_turn
from .._network import Network
from ..exceptions import InterruptedWarning
from ._base import Attribution
from ._conditional import Model, codes_of, conditional_shuffles
from ._falls import Falls, error_over_rows, spacing
from ._losses import losses, scores_of_rows
from ._spread import check_rows_differ


class Permutation(Attribution):
    """Mean loss of score when a column, or a group of columns, is shuffled among the rows.

    It asks what *this* model relies on, in units of its score, needs no gradient, and can be compared
    between any two models. Use rows that the model was not trained on.

    Parameters
    ----------
    n_repeats : int, default=5
        Shuffles of each column.
    scoring : None, "loss", str or callable, default=None
        None or "loss": the rise of the mean loss, log-loss for classifiers and squared error for
        regressors; it sees changes of confidence that accuracy does not. Otherwise a scikit-learn
        scorer or its name; the fall of the score.
    conditional : bool, "linear" or "forest", default=False
        Shuffle of a column only the part that the other columns do not predict. It asks what a column tells beyond
        the others, of rows that stay plausible: of two columns that say the same, neither counts for much. What
        predicts: ridge and logistic regressions ("linear", or True), or random forests.
    n_jobs : int, default=None
        Repeats at the same time, in processes that share the processors among them, as in scikit-learn. The result is
        the same. Starting processes takes seconds, so it pays for many rows or slow models.

    Raises
    ------
    ValueError
        For rows that are all alike; with ``n_jobs`` for a model that cannot be pickled; with ``conditional`` for
        fewer than 20 rows, numbers with gaps, or text or codes of more than 50 different values.

    See Also
    --------
    ConditionalPermutation : conditional, of clones on rows that they were not trained on, for p-values.
    sklearn.inspection.permutation_importance : the same idea, one ``predict`` a shuffle.

    Notes
    -----
    Baseline and shuffled score use the same rows (paired). Values are signed: an unused column scatters
    around 0 and may come out negative; `feature_importances_` clips these at 0. Standard errors of losses are over
    rows, each of which counts twice: what is lost where it gets another row's column, and where another gets its own.
    Those of scorers are over repeats, that is shuffling noise only.
    Cost: ``n_repeats`` predictions a row and column, of which all but the first layer's rank-one update is
    shared.

    Axioms: dummy, exactly (``conditional=True`` too: what the network does not read may be drawn as it likes); symmetry
    up to the standard error; implementation invariance. Not complete: what columns do together is counted for each of
    them. On a linear network under squared error the value is ``2 w_j^2 Var(x_j)``, with ``conditional=True``
    ``2 w_j^2 Var(x_j | x_-j)``. Biased by rows that do not exist: shuffling breaks the ties between correlated columns;
    group such columns (``groups="correlated"``), or use ``conditional=True``. On training rows it is biased by what the
    network knows by heart.

    Conditional: numbers are predicted by ridge regression from the other columns and their residuals shuffled, those
    of a group by one shuffle. Columns of at most 10 values, text, and codes that the network looks up are drawn from
    class probabilities that a logistic regression predicts (levels of a one-hot group together). Predictions for a row
    come from the other four fifths of the rows.
    What depends on the others in a way that is not linear stays in the residual, so the value lies
    between the marginal and the truly conditional one. It costs 40 inverses of a matrix
    of the size of the columns more, and five logistic regressions for each discrete column. With "forest" five forests
    for each column, a tenth of a second each for a thousand rows.

    References
    ----------
    A. Fisher, C. Rudin, F. Dominici, "All models are wrong, but many are useful", JMLR 2019, sec. 3.

    C. Strobl et al., "Conditional variable importance for random forests", BMC Bioinformatics 9:307, 2008.
    A. Chamma, D. Engemann, B. Thirion, "Statistically valid variable importance assessment through conditional
    permutations", NeurIPS 2023.

    Examples
    --------
    >>> from skexplain.attributions import Permutation
    >>> Permutation(n_repeats=10, scoring="roc_auc")
    Permutation(n_repeats=10, scoring='roc_auc')
    """

    local = False
    stochastic = True
    needs_y = True
    needs_gradient = False

    def __init__(
        self,
        *,
        n_repeats: int = 5,
        scoring: str | Callable | None = None,
        conditional: bool | Model = False,
        n_jobs: int | None = None,
    ) -> None:
        self.n_repeats = n_repeats
        self.scoring = scoring
        self.conditional = conditional
        self.n_jobs = n_jobs

    def importances(
        self, network: Network, X: NDArray, y: NDArray, groups: Sequence[NDArray], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Mean over repeats of ``score(X) - score(X with the group shuffled)``."""
        check_scalar(self.n_repeats, "n_repeats", Integral, min_val=1)
        check_rows_differ(X, self)
        by_loss = self.scoring in (None, "loss")
        # a scorer may ask a model for what its probabilities do not tell, such as a decision by a threshold
        ask_model = not by_loss and hasattr(network, "stand_ins")
        of_rows = losses(network, y) if by_loss else None if ask_model else scores_of_rows(network, y, self.scoring)
        score = None if of_rows or self.scoring is None else _scorer(network, X, y, self.scoring)
        step = spacing(len(X), len(groups)) if by_loss else len(X)
        falls = Falls(network, X, groups, of_rows, score, ask_model, step)
        # a seed for each shuffle, so that no result depends on another
        seeds = rng.integers(2**63, size=(self.n_repeats, len(groups)))
        if self.conditional:
            model = "linear" if self.conditional is True else self.conditional
            shuffles = conditional_shuffles(X, groups, rng, codes_of(network, X), model)
        else:
            shuffles = _shuffles(X, groups)
        means: list[NDArray] = []
        of_some = np.zeros((3, 0, 0))
        try:
            for mean, some in in_turn(self.n_jobs, falls, ((shuffles, repeat) for repeat in seeds)):
                of_some = of_some + some if means else some
                means.append(mean)
        except KeyboardInterrupt:
            if not means:
                raise
            message = f"Interrupted: permutation importance of {len(means)} of {self.n_repeats} repeats."
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        # rows are what the error of a loss is about, repeats that of a score
        if by_loss:
            error = error_over_rows(of_some, len(means), len(X))
        else:
            d, n = np.array(means), len(means)
            error = d.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(groups), np.nan)
        return np.mean(means, axis=0), error


@dataclass(frozen=True)
class _Reordered:
    """Columns in another order of the rows, formed for the rows that are asked for."""

    flat: NDArray
    order: NDArray
    columns: NDArray

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    def __getitem__(self, rows: slice) -> NDArray:
        return self.flat[np.ix_(self.order[rows], self.columns)]


def _shuffles(X: NDArray, groups: Sequence[NDArray]) -> list[Callable]:
    """For each group of columns a function that gives it in an order of the rows."""
    flat = X.reshape(len(X), -1)

    def shuffle(columns: NDArray, order: NDArray, rng: np.random.Generator) -> _Reordered:
        return _Reordered(flat, order, columns)

    return [partial(shuffle, columns) for columns in groups]


def _scorer(network: Network, X: NDArray, y: NDArray, scoring: str | Callable) -> Callable[[Any], float]:
    """Outputs, or an estimator that stands in for the model, to a scikit-learn score."""
    scorer = get_scorer(scoring)
    answers = _RegressorAnswers if network.classes is None else _ClassifierAnswers
    if hasattr(network, "stand_ins"):
        return lambda stand_in: scorer(stand_in, X, y)
    return lambda outputs: scorer(answers(network, outputs), X, y)


class _Answers(BaseEstimator):
    """A fitted estimator whose predictions are already known, for scorers."""

    def __init__(self, network: Network, outputs: NDArray) -> None:
        self.network = network
        self.outputs = outputs


class _RegressorAnswers(RegressorMixin, _Answers):
    def predict(self, X: NDArray) -> NDArray:
        return self.outputs[:, 0] if self.outputs.shape[1] == 1 else self.outputs


class _ClassifierAnswers(ClassifierMixin, _Answers):
    @property
    def classes_(self) -> NDArray:
        assert self.network.classes is not None
        return self.network.classes

    def predict(self, X: NDArray) -> NDArray:
        return self.classes_[self.outputs.argmax(axis=1)]

    def predict_proba(self, X: NDArray) -> NDArray:
        return np.exp(self.network.head.log_probabilities(self.outputs))

    def decision_function(self, X: NDArray) -> NDArray:
        return self.outputs[:, 1] if self.outputs.shape[1] == 2 else self.outputs
