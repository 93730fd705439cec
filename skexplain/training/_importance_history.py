"""ImportanceHistory: when a network learns its columns, and when it forgets them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import weightedtau
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.validation import check_scalar

from .._columns import evenly
from .._explain import importances
from .._network import Network
from .._subject import reading, truth_of
from .._wrap import as_network
from ..attributions._registry import get_attribution
from ._watcher import Watcher

if TYPE_CHECKING:
    import pandas as pd

#: Weighted rank correlation from which on two rankings are the same: what matters keeps its place.
SAME = 0.9
#: Rows that importances are computed from, and the most that are compared with.
N_ROWS, BACKGROUND = 200, 50
#: Evaluations that make a history.
FEWEST = 3


class ImportanceHistory(Watcher):
    """Importances while a network trains: when each column is learned, and when it is forgotten.

    Choose it to see whether a ranking has settled, or a late epoch has begun to use a column that should not matter.
    Any strategy that explains a trained network serves; the cheaper it is, the more often it is evaluated. For
    ``callbacks=`` of Keras, skorch and this library's estimators; in a loop of your own call
    ``on_train_begin(model)``, after each epoch ``on_epoch_end()``, and ``on_train_end()``.

    Parameters
    ----------
    strategy : str or object
        A name or an object of `skexplain.attributions`.
    every : int, default=1
        Epochs from one evaluation to the next.
    rows : int, array-like, pair (X, y) of them or None, default=None
        Rows that importances are computed from, as the network reads them. A number: so many of the training rows, at
        equal distances. None: 200 of them. Keras' own ``Model.fit`` and a loop of your own do not tell their rows, so
        there rows must be given.
    stop_when_stable : int, default=None
        Stop the training when so many evaluations in a row have the ranking of the newest one: Vigna's weighted tau
        of at least 0.9, in which important columns count most.
    max_cost : float or None, default=0.1
        Largest share of the training time that evaluations may take. What is due is left out until the time is there.
        Small networks train so fast that few evaluations fit in a tenth of the time: allow more, or pass fewer rows.
        None: all that are due.
    feature_names : sequence of str, default=None
        Names of the columns. None: those of the DataFrame that an estimator of this library was fitted on, if any.

    Attributes
    ----------
    values : ndarray of shape (n_evaluations, n_columns)
        Importances, each row with sum 1, or 0 where the network uses no column.
    epochs : int ndarray of shape (n_evaluations,)
        Epochs after which they were computed. The first is 0, before the training, in any case.
    names : tuple of str
    cost : float
        Time of the evaluations during training as a share of the training time without them.
    n_skipped : int
        Evaluations that were due, and left out because of ``max_cost``.
    stopped_epoch : int or None
        Number of epochs after which training was stopped.

    Raises
    ------
    ValueError
        When no rows are known, the network cannot read them, or the strategy needs more than a trained network.
    sklearn.exceptions.NotFittedError
        When results are read before a training has begun.

    Warns
    -----
    UserWarning
        At the end, when ``max_cost`` allowed no more than two of the evaluations that were due.

    See Also
    --------
    skexplain.plotting.importance_history : its picture.

    References
    ----------
    S. Vigna, "A weighted correlation index for rankings with ties", WWW 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skexplain.torch import NeuralNetRegressor
    >>> from skexplain.training import ImportanceHistory
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> history = ImportanceHistory("expected_gradients", every=5, max_cost=None)
    >>> net = NeuralNetRegressor(max_epochs=20, callbacks=[history], random_state=0).fit(X, y)
    >>> history.values.shape[1], history.names[2]
    (10, 'bmi')
    """

    stopped_epoch: int | None = None

    def __init__(
        self,
        strategy: Any,
        *,
        every: int = 1,
        rows: Any = None,
        stop_when_stable: int | None = None,
        max_cost: float | None = 0.1,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.strategy = strategy
        self.every = every
        self.rows = rows
        self.stop_when_stable = stop_when_stable
        self.max_cost = max_cost
        self.feature_names = feature_names

    @property
    def values(self) -> NDArray:
        return np.array(self._seen()[1])

    @property
    def epochs(self) -> NDArray:
        return np.array(self._seen()[0])

    @property
    def names(self) -> tuple[str, ...]:
        return self._named(self.feature_names, self.values.shape[1])

    @property
    def cost(self) -> float:
        self._seen()
        return self._spent / self._trained if self._trained > 0 else 0.0

    def _seen(self) -> tuple[list[int], list[NDArray]]:
        """Epochs and importances."""
        if not hasattr(self, "_evaluations"):
            raise NotFittedError(
                "This ImportanceHistory has watched no training; pass it in callbacks= to one, or call "
                "on_train_begin(model) in your loop."
            )
        return self._evaluations

    def to_frame(self) -> pd.DataFrame:
        """Importances as a DataFrame: a row an evaluation, by its epoch, and a column for each of the data's."""
        import pandas as pd

        return pd.DataFrame(self.values, index=pd.Index(self.epochs, name="epoch"), columns=list(self.names))

    def _begin(self) -> None:
        check_scalar(self.every, "every", Integral, min_val=1)
        if self.max_cost is not None:
            check_scalar(self.max_cost, "max_cost", Real, min_val=0)
        if self.stop_when_stable is not None:
            check_scalar(self.stop_when_stable, "stop_when_stable", Integral, min_val=1)
        strategy = self._strategy = get_attribution(self.strategy)
        if getattr(strategy, "needs_training", False) or getattr(strategy, "needs_estimator", False):
            raise ValueError(
                f"strategy={strategy} cannot be evaluated while a network trains; choose one that explains a trained "
                "network, such as 'expected_gradients'."
            )
        self._X, self._y = self._chosen_rows()
        if getattr(strategy, "needs_y", False) and self._y is None:
            raise ValueError(f"strategy={strategy} compares predictions with the truth; pass rows=(X, y).")
        self.stopped_epoch, self.stop_training, self.n_skipped, self._n_epochs = None, False, 0, 0
        self._trained = 0.0
        self._evaluations: tuple[list[int], list[NDArray]] = [], []
        with reading(self._X):
            self._shares()  # imports and the like, which later evaluations need not wait for
        began = time.perf_counter()
        self._evaluate()
        self._began, self._spent = time.perf_counter(), 0.0
        self._last = self._began - began

    def _chosen_rows(self) -> tuple[NDArray, NDArray | None]:
        rows = self.rows
        if rows is None or isinstance(rows, Integral):
            return self._training_rows(N_ROWS if rows is None else int(rows))
        X, y = rows if isinstance(rows, tuple) and len(rows) == 2 else (rows, None)
        X = check_array(X, allow_nd=True, dtype="numeric", ensure_min_samples=2, input_name="rows")
        return X, None if y is None else truth_of(y, len(X))

    def _training_rows(self, n: int) -> tuple[NDArray, NDArray | None]:
        if self._rows is None:
            raise ValueError(
                f"rows={self.rows!r}, but this training does not tell its rows; pass ImportanceHistory(..., rows=X), "
                "or rows=(X, y)."
            )
        if n < 2:
            raise ValueError(f"rows={n}; importances need two rows at least.")
        index = evenly(len(self._rows), n)
        return self._rows[index], None if self._targets is None else self._targets[index]

    def _epoch(self, logs: dict[str, float]) -> None:
        self._n_epochs += 1
        now = time.perf_counter()
        self._trained = now - self._began - self._spent
        if self._n_epochs % self.every:
            return
        if self.max_cost is not None and self._spent + self._last > self.max_cost * self._trained:
            self.n_skipped += 1
            return
        self._evaluate()
        self._last = time.perf_counter() - now
        self._spent += self._last
        if self._is_stable():
            self.stopped_epoch = self._n_epochs
            self._stop()

    def _evaluate(self) -> None:
        epochs, values = self._evaluations
        epochs.append(self._n_epochs)
        values.append(self._shares())

    def _shares(self) -> NDArray:
        X, y = self._X, self._y
        model = _AsItIs(as_network(self._model, X[:BACKGROUND], y=y))
        background = X[:BACKGROUND]
        return importances(model, X, y, attribution=self._strategy, background=background, random_state=0).normalized

    def _is_stable(self) -> bool:
        """Whether the newest ranking is that of so many evaluations before it."""
        trained = self._evaluations[1][1:]
        if self.stop_when_stable is None or len(trained) <= self.stop_when_stable:
            return False
        if len(trained[0]) == 1:
            return True
        *before, newest = trained[-self.stop_when_stable - 1 :]
        return all(weightedtau(newest, values, rank=None).statistic >= SAME for values in before)

    def _end(self) -> None:
        self._trained = time.perf_counter() - self._began - self._spent
        made = len(self._evaluations[0]) - 1
        if made < FEWEST < self.n_skipped + made:
            warnings.warn(
                f"ImportanceHistory left out {self.n_skipped} of {self.n_skipped + made} evaluations that were due: "
                f"each takes {1e3 * self._last:.0f} ms, and max_cost={self.max_cost} of the training time is theirs. "
                "Allow more (None: all), or pass fewer rows.",
                UserWarning,
                stacklevel=2,
            )

    def release(self) -> None:
        """Let go of the model and the rows."""
        super().release()
        for name in ("_X", "_y"):
            self.__dict__.pop(name, None)


class _AsItIs:
    """A network in the middle of its training, as a model that `importances` takes."""

    def __init__(self, network: Network) -> None:
        self._network = lambda output: network
