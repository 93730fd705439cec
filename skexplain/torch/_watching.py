"""VarianceImportanceTorch: VIANN for skorch and for loops in PyTorch."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from skorch.callbacks import Callback

from ..training._variance import VarianceImportance
from ..training._watcher import few_rows


class VarianceImportanceTorch(VarianceImportance, Callback):
    """Importance of columns by how much their weights vary while a PyTorch network trains (VIANN).

    A callback of skorch, and of this library's estimators, and a tracker for a loop of your own. An estimator with
    ``attribution="viann"`` needs neither.

    Parameters
    ----------
    model : torch.nn.Module, default=None
        The network, in a loop of your own; a callback is told.
    X : array-like of shape (n, *features), default=None
        A few rows as the module reads them, in a loop of your own. Needed where the module does not say how many
        columns it takes, as one that begins with an embedding, and for the warning of columns on different scales.
    per : {"epoch", "step"}, default="epoch"
        When a sample of the weights is taken. In a loop of your own call ``on_batch_end()`` after each step.
    include_initial : bool, default=True
        Whether the initial weights are a sample too. False: the original formula, in which the way from the initial
        weights to those after the first epoch does not count; after one epoch all scores are 0.
    normalize : {"sum", "minmax", None}, default="sum"
        Scores with sum 1; or as in the paper from 0, for the least important column, to 1; or as they are.

    Attributes
    ----------
    var_scores : ndarray of shape (n_columns,)
        ``feature_importances_`` is the same.
    raw_scores : ndarray of shape (n_columns,)
        Before ``normalize``.

    Raises
    ------
    UnsupportedModelError
        When no layer has weights on single columns, or it cannot be found without X.
    sklearn.exceptions.NotFittedError
        When scores are read before the training is over.
    ValueError
        When weights become NaN or infinite.

    Warns
    -----
    UserWarning
        When the columns that reach the layer are on different scales: their weights cannot be compared.

    See Also
    --------
    skexplain.attributions.VIANN : the strategy, and what it can and cannot tell.
    VarianceImportanceKeras : the same in Keras.

    Notes
    -----
    Used for another training it starts afresh, unless the weights are those that the last one ended with. The final
    weights are those at ``on_train_end``: list it after a callback that restores the best ones.

    Examples
    --------
    >>> import torch
    >>> from skexplain.training import VarianceImportanceTorch
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(200, 3)
    >>> y = 2 * X[:, :1]
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> tracker = VarianceImportanceTorch(model)
    >>> tracker.on_train_begin()
    >>> for epoch in range(20):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.mse_loss(model(X), y).backward()
    ...     _ = optimizer.step()
    ...     tracker.on_epoch_end()
    >>> tracker.on_train_end()
    >>> int(tracker.var_scores.argmax())
    0
    """

    def __init__(
        self,
        model: Any = None,
        *,
        X: ArrayLike | None = None,
        per: str = "epoch",
        include_initial: bool = True,
        normalize: str | None = "sum",
    ) -> None:
        super().__init__(per=per, include_initial=include_initial, normalize=normalize)
        self.model = model
        self.X = X

    def on_train_begin(self, source: Any = None, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Training begins."""
        if self.X is not None:
            self.look(few_rows(self.X))
        super().on_train_begin(self.model if source is None else source, X, y, **kwargs)
