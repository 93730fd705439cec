"""What scikit-learn sees: the mixin that adds importances and explanations to an estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, check_scalar

from ._columns import Groups
from ._data import evenly_over, prediction_rows
from ._explain import explain, importances
from ._head import Output
from ._network import Network
from ._subject import BACKGROUND_ROWS, seed_of
from ._targets import PREDICTED
from .attributions._registry import get_attribution, same
from .explanation import Explanation, Importances

if TYPE_CHECKING:
    from .row_report import RowReport
    from .training._watcher import Watcher


class ExplainableMixin:
    """Adds ``feature_importances_``, ``importances_``, ``importances()`` and ``explain()``.

    A class that uses it has the parameters ``attribution``, ``importance_rows``, ``keep_rows`` and
    ``random_state``, implements `_network`, and calls `_keep` at the end of ``fit``.
    """

    attribution: Any
    importance_rows: int
    keep_rows: bool
    random_state: Any

    _importance_seed: int
    #: What has looked on at the training, and the strategy that it did so for.
    _seen_training: tuple[Watcher, Any] | tuple[None, None] = (None, None)
    _importances: Importances | None
    _kept: tuple[Any, Any] | None
    #: Positions of the kept rows among those of `fit`.
    _kept_index: NDArray | None = None

    #: ``_network(output="margin")``: the fitted network behind the boundary.
    _network: Callable[..., Network]

    def _check_rows(self, X: Any) -> NDArray:
        """Rows as the network reads them, checked against the columns of fit."""
        return prediction_rows(self, X)

    @property
    def feature_importances_(self) -> NDArray:
        """Importance of each column: non-negative, the higher the more it matters, with sum 1.

        ``(n_features_in_,)``, float64. Computed by ``attribution`` on rows kept at ``fit``, at the first
        access. It says what the model uses, not what the world does: correlated columns share or swap
        their importance, and it is measured on training rows. Use ``importances(X, y)`` for held-out rows.
        """
        result = self.importances_
        if not result.values.any():
            watched = getattr(result.strategy, "needs_training", False)
            reason = (
                "no weight varied among the samples"
                if watched
                else "the network's output does not depend on any column on the rows kept"
            )
            warnings.warn(
                f"All importances are 0 by {result.strategy}: {reason}. Train longer, or choose another attribution.",
                UserWarning,
                stacklevel=2,
            )
        return result.normalized

    @property
    def importances_(self) -> Importances:
        """The full record behind ``feature_importances_``: signed means, standard errors, per class."""
        if not hasattr(self, "_importance_seed"):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' before reading importances."
            )
        strategy = get_attribution(self.attribution)
        if self._importances is not None and not same(strategy, self._importances.strategy):
            self._importances = None  # `attribution` was set anew
        if self._importances is None:
            if self._kept is None:
                raise ValueError(
                    f"attribution={strategy} was set after fit, and no row was kept (keep_rows=False). Fit again, or "
                    "use `importances(X, y)`."
                )
            self._importances = self._compute_importances(*self._kept)
        return self._importances

    def importances(
        self,
        X: Any,
        y: Any = None,
        *,
        attribution: Any = None,
        background: Any = None,
        target: Any = "predicted",
        output: Output = "margin",
        groups: Groups | None = None,
        feature_names: Sequence[str] | None = None,
        random_state: Any = None,
    ) -> Importances:
        """`skexplain.importances` of this estimator on any rows; see there for the parameters."""
        check_is_fitted(self)
        return importances(
            self,
            X,
            y,
            attribution=attribution,
            background=background,
            target=target,
            output=output,
            groups=groups,
            feature_names=feature_names,
            random_state=random_state,
        )

    def explain(
        self,
        X: Any,
        *,
        attribution: Any = None,
        background: Any = None,
        target: Any = "predicted",
        output: Output = "margin",
        groups: Groups | None = None,
        feature_names: Sequence[str] | None = None,
        random_state: Any = None,
    ) -> Explanation:
        """`skexplain.explain` of this estimator on any rows; see there for the parameters."""
        check_is_fitted(self)
        found = explain(
            self,
            X,
            attribution=attribution,
            background=background,
            target=target,
            output=output,
            groups=groups,
            feature_names=feature_names,
            random_state=random_state,
        )
        assert isinstance(found, Explanation)  # the rows of an estimator are no texts
        return found

    def explain_row(
        self,
        row: Any,
        *,
        training: Any = None,
        attribution: Any = None,
        background: Any = None,
        target: Any = "predicted",
        output: Output = "margin",
        groups: Groups | None = None,
        feature_names: Sequence[str] | None = None,
        n_resamples: int = 20,
        n_neighbours: int = 5,
        random_state: Any = None,
    ) -> RowReport:
        """`skexplain.explain_row` of this estimator; see there for the parameters."""
        from .row_report import explain_row

        check_is_fitted(self)
        return explain_row(
            self,
            row,
            training=training,
            attribution=attribution,
            background=background,
            target=target,
            output=output,
            groups=groups,
            feature_names=feature_names,
            n_resamples=n_resamples,
            n_neighbours=n_neighbours,
            random_state=random_state,
        )

    def set_params(self, **params: Any) -> Any:
        """Set parameters; ``attribution__n_steps`` also works while ``attribution`` is a name."""
        if any(key.startswith("attribution__") for key in params):
            chosen = get_attribution(params.pop("attribution", self.attribution))
            if not hasattr(chosen, "set_params"):
                raise ValueError(f"attribution={chosen!r} has no parameters that can be set; make it a BaseEstimator.")
            # a strategy of its own, so that no other estimator's object is changed
            self.attribution = clone(chosen)
            nested = {k.removeprefix("attribution__"): v for k, v in params.items() if k.startswith("attribution__")}
            self.attribution.set_params(**nested)
            params = {k: v for k, v in params.items() if not k.startswith("attribution__")}
        return super().set_params(**params)  # type: ignore[misc]

    def _sk_visual_block_(self) -> Any:
        """Scikit-learn's diagram, with the strategy under the name, also where it is the default."""
        from sklearn.utils._repr_html.estimator import _VisualBlock  # without it scikit-learn draws the plain block

        name, caption = type(self).__name__, f"attribution: {self.attribution}"
        return _VisualBlock("single", self, names=name, name_details=str(self), name_caption=caption)

    @property
    def _kept_background(self) -> NDArray | None:
        """Rows kept as background, None if no rows were kept."""
        kept = getattr(self, "_kept", None)
        if kept is None:
            return None
        X = kept[0]
        order = np.random.default_rng(self._importance_seed).permutation(len(X))[:BACKGROUND_ROWS]
        return X[np.sort(order)]

    @property
    def _on_kept_rows(self) -> Any:
        """The estimator as it reads the rows that were kept."""
        return _OnKeptRows(self)

    @contextmanager
    def _watching(self, go_on: bool) -> Iterator[list[Watcher]]:
        """What the strategy has look on at the training in this block, if anything.

        Parameters
        ----------
        go_on : bool
            Whether an earlier training goes on, and what was seen of it counts.
        """
        strategy = get_attribution(self.attribution)
        before, by = self._seen_training
        self.__dict__.pop("_seen_training", None)
        if not getattr(strategy, "needs_training", False):
            yield []
            return
        watcher = before if go_on and before is not None and same(strategy, by) else strategy.watcher()
        try:
            yield [watcher]
        finally:
            watcher.release()
        self._seen_training = watcher, strategy

    def _keep(self, X: NDArray, y: NDArray) -> None:
        """Draw the rows that importances are computed from; without ``keep_rows`` compute them now.

        Parameters
        ----------
        X : ndarray of shape (n, n_features_in_)
            Rows as the network reads them.
        y : ndarray of shape (n,) or (n, n_outputs)
            Targets as the user wrote them.
        """
        check_scalar(self.importance_rows, "importance_rows", Integral, min_val=1)
        self._importance_seed = seed_of(None, self.random_state)
        rows = spread_rows(y, self.importance_rows, np.random.default_rng(self._importance_seed))
        self._importances = None
        self._kept = (X[rows].copy(), y[rows].copy())
        self._kept_index = rows
        if not self.keep_rows:
            kept, y_kept = self._kept
            self._importances = self._compute_importances(kept, y_kept)
            self._kept = self._kept_index = None

    def _compute_importances(self, X: NDArray, y: NDArray) -> Importances:
        inputs = getattr(self, "_inputs", None)
        names = getattr(self, "feature_names_in_", None) if inputs is None else inputs.names
        try:
            return importances(self._on_kept_rows, X, y, target=PREDICTED, feature_names=names)
        except AttributeError as exc:
            # hasattr() would swallow it, and the user would read "has no attribute 'feature_importances_'"
            raise RuntimeError(f"{self.attribution} failed with an AttributeError: {exc}") from exc


class _OnKeptRows:
    """An estimator seen from rows that are already checked."""

    def __init__(self, estimator: ExplainableMixin) -> None:
        self._estimator = estimator
        self.attribution = estimator.attribution
        self._importance_seed = estimator._importance_seed
        self._network = estimator._network
        self._kept_background = estimator._kept_background
        self._seen_training = estimator._seen_training

    @staticmethod
    def _check_rows(X: NDArray) -> NDArray:
        return X


def spread_rows(y: NDArray, most: int, rng: np.random.Generator) -> NDArray:
    """At most ``most`` row indices, spread evenly over the sorted target: stratified by class or by quantile."""
    order = rng.permutation(len(y))
    if len(y) <= most:
        return np.sort(order)
    key = y if y.ndim == 1 else y[:, 0]
    _, key = np.unique(key, return_inverse=True)
    return np.sort(evenly_over(key, order, most, rng.random()))
