"""The default model's sparsity, chosen by the loss of rows that are held out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .. import _defaults
from .._network import chunks, rows_at_once
from .._one_error import Tried, simplest
from ._losses import only_loss
from ._routing import fresh
from ._table import arranged
from ._training import Rows


class SparsityPath(keras.callbacks.EarlyStopping):
    """Early stopping at each of several sparsities, from the sparsest on; each begins with the best weights before it.

    Taken is the largest sparsity whose held-out loss is within one standard error of the best; see `simplest`.

    Parameters
    ----------
    rows : Rows
        Held out.
    """

    best_weights: Any

    def __init__(self, rows: Rows) -> None:
        super().__init__(monitor="val_loss", patience=_defaults.PATIENCE, restore_best_weights=True)
        self.rows = rows

    def on_train_begin(self, logs: Any = None) -> None:
        self.tried: list[Tried] = []
        self.started: int | None = None
        new = fresh(self.model.optimizer)
        new.build(self.model.trainable_variables)
        self.first_state = [keras.ops.convert_to_numpy(v) for v in new.variables]
        self._begin()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = epoch if self.started is None else self.started

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["sparsity"] = self.model.sparsity
        ended = self.model.stop_training  # by another callback
        super().on_epoch_end(epoch, logs)
        assert self.started is not None
        if ended or not (self.model.stop_training or epoch + 1 - self.started >= _defaults.MAX_EPOCHS):
            return
        self._finish()
        self.model.stop_training = len(self.tried) == len(_defaults.SPARSITIES)
        if not self.model.stop_training:
            self._begin()

    def on_train_end(self, logs: Any = None) -> None:
        if len(self.tried) < len(_defaults.SPARSITIES) and self.best_weights is not None:
            self._finish()
        if self.tried:
            chosen = simplest([t.losses for t in self.tried], self.tried[0].weight)
            self.model.set_weights(self.tried[chosen].weights)

    def _begin(self) -> None:
        """Go on with the next sparsity, as if training had begun."""
        super().on_train_begin()
        self.started = None
        self.patience = _defaults.PATIENCE_AFTER if self.tried else _defaults.PATIENCE
        self.model.sparsity = _defaults.SPARSITIES[len(self.tried)]
        optimizer = self.model.optimizer
        for variable, value in zip(optimizer.variables, self.first_state, strict=True):
            if variable is not optimizer._learning_rate:  # not public; what it was set to holds
                variable.assign(value)

    def _finish(self) -> None:
        """Put back the best weights at this sparsity, and see what they are worth."""
        self.model.set_weights(self.best_weights)
        self.tried.append(Tried(self.model.sparsity, *row_losses(self.model, self.rows), self.best_weights))
        self.best_weights = None


def row_losses(model: keras.Model, rows: Rows) -> tuple[NDArray, NDArray]:
    """Loss and weight of each row; of rows together, if the loss does not tell them apart."""
    loss = keras.losses.get(only_loss(model))
    function = loss.call if isinstance(loss, keras.Loss) else loss
    losses, weights = [], []
    for block in chunks(len(rows.X), rows_at_once(rows.X)):
        part = rows.take(block)
        predicted = model(arranged(model, keras.ops.convert_to_tensor(part.X), part.inputs), training=False)
        y = keras.ops.convert_to_tensor(part.y)
        if len(y.shape) < len(predicted.shape) and predicted.shape[-1] == 1:
            y = keras.ops.expand_dims(y, -1)
        found = keras.ops.convert_to_numpy(keras.ops.stop_gradient(function(y, predicted))).astype(np.float64)
        n = len(part.X)
        each = (
            found.reshape(n, -1).mean(axis=1) if found.ndim and len(found) == n else found.mean(keepdims=True).ravel()
        )
        apart = len(each) == n
        losses.append(each)
        weights.append(np.full(len(each), n / len(each)) if part.weight is None or not apart else part.weight)
    return np.concatenate(losses), np.concatenate(weights).astype(np.float64)
