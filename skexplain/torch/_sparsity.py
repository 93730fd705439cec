"""The default module's sparsity, chosen by the loss of rows that are held out."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import _defaults
from .._one_error import Tried, simplest
from ._callbacks import Stop
from ._criterion import plain, unreduced


class SparsityPath(Stop):
    """Early stopping at each of several sparsities, from the sparsest on; each begins with the best weights before it.

    Taken is the largest sparsity whose held-out loss is within one standard error of the best; see `simplest`.
    """

    misses_: int

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        super().on_train_begin(net, **kwargs)
        self.tried_: list[Tried] = []
        self._begin(net)

    def on_epoch_end(self, net: Any, dataset_valid: Any = None, **kwargs: Any) -> None:
        net.history.record("sparsity", net.module_.gated_layer.sparsity)
        try:
            super().on_epoch_end(net, **kwargs)
            if self.tried_:  # of the patience, as much is gone as makes it shorter
                self.misses_ = max(self.misses_, self.patience - _defaults.PATIENCE_AFTER)
            if len(net.history) - self.started_ < _defaults.MAX_EPOCHS:
                return
        except KeyboardInterrupt:  # what stops skorch's loop
            pass
        self._finish(net, dataset_valid)
        if len(self.tried_) < len(_defaults.SPARSITIES):
            self._begin(net)
            return
        chosen = self.tried_[simplest([t.losses for t in self.tried_], self.tried_[0].weight)]
        self.best_model_weights_, self.best_epoch_ = chosen.weights, 0
        net.module_.gated_layer.sparsity = chosen.sparsity
        raise KeyboardInterrupt

    def _begin(self, net: Any) -> None:
        """Go on with the next sparsity, as if training had begun."""
        net.module_.gated_layer.sparsity = _defaults.SPARSITIES[len(self.tried_)]
        net.optimizer_.state.clear()
        self.started_, self.misses_, self.dynamic_threshold_ = len(net.history), 0, np.inf

    def _finish(self, net: Any, dataset_valid: Any) -> None:
        """Put back the best weights at this sparsity, and see what they are worth."""
        net.module_.load_state_dict(self.best_model_weights_)
        sparsity, weights = net.module_.gated_layer.sparsity, deepcopy(self.best_model_weights_)
        self.tried_.append(Tried(sparsity, *self._row_losses(net, dataset_valid), weights))

    @staticmethod
    def _row_losses(net: Any, dataset: Any) -> tuple[NDArray, NDArray]:
        """Loss and weight of each row; of all rows together, if the criterion does not tell them apart."""
        losses, weights = [], []
        net._set_training(False)
        reducible = getattr(plain(net.criterion_), "reduction", None) in ("mean", "sum")
        with torch.no_grad(), unreduced(net.criterion_) if reducible else nullcontext():
            for batch in net.get_iterator(dataset, training=False):
                loss = net.get_loss(net.infer(batch[0]), batch[1])
                rows = loss.reshape(len(batch[0]), -1).mean(1) if reducible else loss.reshape(1)
                losses.append(rows)
                known = reducible and batch.weight is not None
                weights.append(batch.weight if known else torch.full_like(rows, len(batch[0]) / len(rows)))
        return tuple(torch.cat(parts).double().cpu().numpy() for parts in (losses, weights))  # type: ignore[return-value]

    def restore(self, net: Any) -> None:
        super().restore(net)
        self.tried_ = [t._replace(weights={}) for t in self.tried_]
