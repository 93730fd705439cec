"""VarianceImportanceKeras: VIANN for Keras."""

from __future__ import annotations

from typing import Any

import keras

from ..training._variance import VarianceImportance


class VarianceImportanceKeras(VarianceImportance, keras.callbacks.Callback):
    """Importance of columns by how much their weights vary while a Keras model trains (VIANN).

    A callback of ``Model.fit`` and of this library's estimators; in a loop of your own call ``set_model(model)``,
    ``on_train_begin()``, ``on_epoch_end()`` after each epoch, and ``on_train_end()``. An estimator with
    ``attribution="viann"`` does not need it.

    Parameters
    ----------
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
        When no layer has weights on single columns, or in ``Model.fit`` the model is not built: give it an ``Input``;
        or codes of a column are not found by trial: call ``look(X)`` before ``fit``.
    sklearn.exceptions.NotFittedError
        When scores are read before the training is over.
    ValueError
        When weights become NaN or infinite, or for ``per="step"`` if ``Model.fit`` takes several steps at once.

    Warns
    -----
    UserWarning
        In an estimator of this library, when the columns that reach the layer are on different scales: their weights
        cannot be compared. ``Model.fit`` does not tell its rows; ``look(X)`` before it does.

    See Also
    --------
    skexplain.attributions.VIANN : the strategy, and what it can and cannot tell.
    VarianceImportanceTorch : the same in PyTorch.

    Notes
    -----
    Used for another training it starts afresh, unless the weights are those that the last one ended with. The final
    weights are those at ``on_train_end``: list it after a callback that restores the best ones.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from skexplain.training import VarianceImportanceKeras
    >>> keras.utils.set_random_seed(0)
    >>> X = np.random.normal(size=(200, 3))
    >>> y = 2 * X[:, 0]
    >>> model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> viann = VarianceImportanceKeras()
    >>> _ = model.fit(X, y, epochs=5, verbose=0, callbacks=[viann])
    >>> int(viann.var_scores.argmax())
    0
    """

    def __init__(self, *, per: str = "epoch", include_initial: bool = True, normalize: str | None = "sum") -> None:
        keras.callbacks.Callback.__init__(self)
        VarianceImportance.__init__(self, per=per, include_initial=include_initial, normalize=normalize)

    def set_model(self, model: Any) -> None:
        """Watch this model; None lets go of it."""
        VarianceImportance.set_model(self, model)
