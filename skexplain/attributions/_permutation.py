"""Permutation importance: how much worse the network gets when a column is shuffled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer
from sklearn.utils.validation import check_scalar

from .._network import Network
from ..exceptions import InterruptedWarning
from ._base import Attribution
from ._conditional import Shuffle, conditional_shuffles
from ._losses import losses
from ._spread import check_rows_differ

#: Rows of outputs formed at once.
BLOCK = 2**18


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
    conditional : bool, default=False
        Shuffle of a column only the part that the other columns do not predict. It asks what a column tells beyond
        the others, of rows that stay plausible: of two columns that say the same, neither counts for much.

    Raises
    ------
    ValueError
        For rows that are all alike; with ``conditional=True`` also for fewer than 20 rows, numbers with gaps, or text
        of more than 50 different values.

    See Also
    --------
    sklearn.inspection.permutation_importance : the same idea, one ``predict`` a shuffle.

    Notes
    -----
    Baseline and shuffled score use the same rows (paired). Values are signed: an unused column scatters
    around 0 and may come out negative; `feature_importances_` clips these at 0. Standard errors are over rows
    for losses (columns compared on the same rows), over repeats, that is shuffling noise only, for scorers.
    Cost: ``n_repeats`` predictions a row and column, of which all but the first layer's rank-one update is
    shared. Shuffling breaks the ties between correlated columns and so asks the network about rows that do not
    exist; group such columns (``groups="correlated"``), or use ``conditional=True``. On a linear network under
    squared error the value is ``2 w_j^2 Var(x_j)``, with ``conditional=True`` ``2 w_j^2 Var(x_j | x_-j)``.

    Conditional: numbers are predicted by ridge regression from the other columns and their residuals shuffled, those
    of a group by one shuffle. Columns of at most 10 values, and text, are drawn from class probabilities that a
    logistic regression predicts (levels of a one-hot group together). Predictions for a row come from the other four
    fifths of the rows. What depends on the others in a way that is not linear stays in the residual, so the value lies
    between the marginal and the truly conditional one. It costs 40 inverses of a matrix
    of the size of the columns more, and five logistic regressions for each discrete column.

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

    def __init__(self, *, n_repeats: int = 5, scoring: str | Callable | None = None, conditional: bool = False) -> None:
        self.n_repeats = n_repeats
        self.scoring = scoring
        self.conditional = conditional

    def importances(
        self, network: Network, X: NDArray, y: NDArray, groups: Sequence[NDArray], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Mean over repeats of ``score(X) - score(X with the group shuffled)``."""
        check_scalar(self.n_repeats, "n_repeats", Integral, min_val=1)
        check_rows_differ(X, self)
        score = losses(network, y) if self.scoring in (None, "loss") else _scorer(network, X, y, self.scoring)
        # a scorer may ask a model for what its probabilities do not tell, such as a decision by a threshold
        ask_model = self.scoring not in (None, "loss") and hasattr(network, "stand_ins")
        # a seed for each shuffle, so that no result depends on another
        seeds = rng.integers(2**63, size=(self.n_repeats, len(groups)))
        shuffles = conditional_shuffles(X, groups, rng) if self.conditional else _shuffles(X, groups)
        drops: list[NDArray] = []
        done = 0
        try:
            for repeat in seeds:
                drop = self._drops(network, X, groups, shuffles, repeat, score, ask_model)
                # of losses only the sum over repeats is kept: rows are what their error is about
                drops = [drops[0] + drop] if drops and drop.ndim == 2 else [*drops, drop]
                done += 1
        except KeyboardInterrupt:
            if not done:
                raise
            message = f"Interrupted: permutation importance of {done} of {self.n_repeats} repeats."
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        d = drops[0].T / done if drops[0].ndim == 2 else np.array(drops)
        error = d.std(axis=0, ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.full(len(groups), np.nan)
        return d.mean(axis=0), error

    @staticmethod
    def _drops(
        network: Any,
        X: NDArray,
        groups: Sequence[NDArray],
        shuffles: Sequence[Shuffle],
        seeds: NDArray,
        score: Callable,
        ask_model: bool,
    ) -> NDArray:
        draws = [shuffle(np.random.default_rng(seed)) for shuffle, seed in zip(shuffles, seeds, strict=True)]
        shuffled = X.reshape(len(X), -1).astype(np.result_type(X, draws[0]))
        for columns, draw in zip(groups, draws, strict=True):
            shuffled[:, columns] = draw
        reference, drops = shuffled.reshape(X.shape), []
        size = max(1, BLOCK // max(1, len(X)))
        for k in range(0, len(groups), size):
            block = groups[k : k + size]
            # nothing replaced, then each group alone: in one call, so that both are rounded alike
            none_and_alone = np.eye(len(block) + 1, len(block), k=-1, dtype=bool)
            answers = network.stand_ins if ask_model else network.predict_replaced
            baseline, *alone = map(score, answers(X, reference, block, none_and_alone))
            drops += [baseline - changed for changed in alone]
        return np.array(drops)


def _shuffles(X: NDArray, groups: Sequence[NDArray]) -> list[Shuffle]:
    """For each group of columns a function that draws it from other rows."""
    flat = X.reshape(len(X), -1)

    def shuffle(columns: NDArray, rng: np.random.Generator) -> NDArray:
        return flat[np.ix_(rng.permutation(len(flat)), columns)]

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
