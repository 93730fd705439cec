"""Permutation importance: how much worse the network gets when a column is shuffled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
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
from .._network import Network, chunks
from ..exceptions import InterruptedWarning
from ._base import Attribution
from ._conditional import conditional_shuffles
from ._losses import OfRows, losses, scores_of_rows
from ._spread import check_rows_differ

#: Rows in other orders held at once.
BLOCK = 2**22
#: Most numbers of rows, or of outputs, formed at once.
NUMBERS = 2**19
#: Falls of single rows kept for the error of their mean: of all rows, or evenly spaced ones, and of how many at least.
KEPT, FEWEST = 2**18, 200


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
    n_jobs : int, default=None
        Repeats at the same time, in processes that share the processors among them, as in scikit-learn. The result is
        the same. Starting processes takes seconds, so it pays for many rows or slow models.

    Raises
    ------
    ValueError
        For rows that are all alike; with ``n_jobs`` for a model that cannot be pickled; with ``conditional=True`` for
        fewer than 20 rows, numbers with gaps, or text or codes of more than 50 different values.

    See Also
    --------
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

    def __init__(
        self,
        *,
        n_repeats: int = 5,
        scoring: str | Callable | None = None,
        conditional: bool = False,
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
        step = max(1, min(-(-len(X) * len(groups) // KEPT), len(X) // FEWEST)) if by_loss else len(X)
        falls = _Falls(network, X, groups, of_rows, score, ask_model, step)
        # a seed for each shuffle, so that no result depends on another
        seeds = rng.integers(2**63, size=(self.n_repeats, len(groups)))
        shuffles = (
            conditional_shuffles(X, groups, rng, _codes(network, X)) if self.conditional else _shuffles(X, groups)
        )
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
            error = _error_over_rows(of_some, len(means), len(X))
        else:
            d, n = np.array(means), len(means)
            error = d.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(groups), np.nan)
        return np.mean(means, axis=0), error


def _codes(network: Network, X: NDArray) -> NDArray | None:
    """The flat columns that the network looks up, whose numbers are names."""
    embedded = network.embedded(X)
    return None if embedded is None else embedded.owners[embedded.n_numbers :]


def _error_over_rows(of_some: NDArray, n_repeats: int, n: int) -> NDArray:
    """Standard error of the mean of falls g(x, x'), each of a row x that got a column of a row x'.

    A row takes part in the falls where it gets and in those where it gives, and the mean has the variance of the sums
    of both, over n. In these the variance of single falls is counted twice, as each has a row on either side.

    Parameters
    ----------
    of_some : ndarray of shape (3, n_groups, n_some)
        Of some rows the sum over the repeats of the falls where they get, where they give, and of the first squared.
    """
    variance = np.empty(of_some.shape[1])
    for g, (got, given, squares) in enumerate(of_some.swapaxes(0, 1)):
        single = squares.mean() / n_repeats - (got.mean() / n_repeats) ** 2
        both = (got + given).var(ddof=1) / n_repeats**2 - single / n_repeats
        variance[g] = max(both, got.var(ddof=1) / n_repeats**2)
    return np.sqrt(variance / n)


@dataclass(frozen=True)
class _Falls:
    """How far a score falls when groups are shuffled.

    Attributes
    ----------
    of_rows : callable or None
        From outputs to a number a row, whose mean is the score.
    score : callable or None
        Otherwise: from all outputs, or an estimator that stands in for the model, to the score.
    ask_model : bool
        Whether from an estimator.
    step : int
        Of every so many rows the single falls are kept.
    """

    network: Any
    X: NDArray
    groups: Sequence[NDArray]
    of_rows: OfRows | None
    score: Callable[[Any], float] | None
    ask_model: bool
    step: int

    def __call__(self, shuffles: Sequence[Callable], seeds: NDArray) -> tuple[NDArray, NDArray]:
        """Falls of the score ``(n_groups,)``, and of some rows, see `_error_over_rows`, ``(3, n_groups, n_some)``."""
        blocks = chunks(len(self.groups), BLOCK // len(self.X))
        means, some = zip(*(self._of_block(self.groups[b], shuffles[b], seeds[b]) for b in blocks), strict=True)
        return np.concatenate(means), np.concatenate(some, axis=1)

    def _of_block(
        self, groups: Sequence[NDArray], shuffles: Sequence[Callable], seeds: NDArray
    ) -> tuple[NDArray, NDArray]:
        generators, n = [np.random.default_rng(seed) for seed in seeds], len(self.X)
        orders = [rng.permutation(n) for rng in generators]
        draws = [shuffle(*drawn) for shuffle, *drawn in zip(shuffles, orders, generators, strict=True)]
        # nothing replaced, then each group alone: in one call, so that both are rounded alike
        which = np.eye(len(groups) + 1, len(groups), k=-1, dtype=bool)
        if self.ask_model:
            return self._of_scores(self.network.stand_ins(*self._rows(slice(n), groups, draws), groups, which))
        size = min(NUMBERS // self.X[0].size, NUMBERS // (len(which) * self.network.n_outputs))
        blocks = list(chunks(n, size))
        outputs = (self.network.predict_replaced(*self._rows(b, groups, draws), groups, which) for b in blocks)
        if self.of_rows is None:
            return self._of_scores(np.concatenate(list(outputs), axis=1))
        total, some = np.zeros(len(groups)), np.zeros((3, len(groups), -(-n // self.step)))
        for rows, out in zip(blocks, outputs, strict=True):
            values = self.of_rows(out, rows)
            falls = values[0] - values[1:]
            total += falls.sum(axis=1)
            got, place = falls[:, -rows.start % self.step :: self.step], -(-rows.start // self.step)
            some[::2, :, place : place + got.shape[1]] = got, got**2
            for given, order, fall in zip(some[1], orders, falls, strict=True):
                giver, left = np.divmod(order[rows], self.step)
                given[giver[left == 0]] = fall[left == 0]
        return total / n, some

    def _rows(self, rows: slice, groups: Sequence[NDArray], draws: list[Any]) -> tuple[NDArray, NDArray]:
        """Some rows of X, and what their columns are replaced by."""
        X = self.X[rows]
        shuffled = X.reshape(len(X), -1).astype(np.result_type(X.dtype, draws[0].dtype))
        for columns, draw in zip(groups, draws, strict=True):
            shuffled[:, columns] = draw[rows]
        return X, shuffled.reshape(X.shape)

    def _of_scores(self, answers: Iterable[Any]) -> tuple[NDArray, NDArray]:
        assert self.score is not None
        baseline, *alone = map(self.score, answers)
        return baseline - np.array(alone), np.empty((3, len(alone), 0))


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
