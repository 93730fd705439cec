"""An epoch of training without skorch's bookkeeping between batches, where nobody looks on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from skorch.callbacks import BatchScoring, Callback, EpochScoring, LRScheduler
from skorch.history import History

from ..training._watcher import Watcher
from ._callbacks import Accuracy
from ._flat import needs_own_step
from ._gated import shrink_gates
from ._loader import TensorBatches
from ._step import stack_steps

#: What happens in any step, and in one of training or validation. A class that changes any of it gets skorch's loop.
STEPS = ("run_single_epoch", "infer", "get_loss", "notify", "on_batch_begin", "on_batch_end", "_set_training")
TRAINING = (
    "train_step",
    "train_step_single",
    "on_grad_computed",
    "get_train_step_accumulator",
    "_zero_grad_optimizer",
    "_step_optimizer",
)
VALIDATION = ("validation_step",)
#: Callbacks that keep predictions, of training or of validation, for the end of the epoch.
SCORES = (EpochScoring, Accuracy)
#: What is called for each batch.
LISTENERS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


def unobserved(net: Any, iterator: Any, training: bool) -> bool:
    """Whether nothing but the weights and the scores can tell how the batches of an epoch are run.

    So it is when batches are slices, the step is skorch's own, with one optimizer that needs no closure, and no
    callback looks at single batches, or else keeps the predictions of validation for a score.
    """
    plain = isinstance(iterator, TensorBatches) and type(net.history) is History
    if not plain or net._optimizers != ["optimizer"]:
        return False
    ours = next(c for c in type(net).__mro__ if c.__module__.startswith("skexplain.torch"))
    steps = (*STEPS, *(TRAINING if training else VALIDATION))
    if any(getattr(type(net), name) is not getattr(ours, name) or name in vars(net) for name in steps):
        return False
    plain_step = type(net.optimizer_).step is not torch.optim.LBFGS.step
    return plain_step and not any(_listens(callback, training) for _, callback in net.callbacks_)


def _listens(callback: Any, training: bool) -> bool:
    """Whether a callback looks at batches; those that score the other kind, and schedules by epoch, do not.

    Watchers of this library look at the weights after each step at most, and are called here.
    """
    kind = type(callback)
    if kind in SCORES or kind is BatchScoring:
        return callback.on_train == training and (training or kind is BatchScoring)
    if kind is LRScheduler:
        return training and callback.step_every != "epoch"
    base: Any = Watcher if isinstance(callback, Watcher) else Callback
    return any(getattr(kind, name, None) is not getattr(base, name) for name in LISTENERS) or any(
        name in vars(callback) for name in LISTENERS
    )


def run_epoch(net: Any, iterator: TensorBatches, prefix: str, **fit_params: Any) -> None:
    """`NeuralNet.run_single_epoch` of training, with the same weights, generators and history after it."""
    net._set_training(True)
    batches, by_torch = iter(iterator), partial(_torch_step, net, fit_params)
    looks = [watcher._step for watcher in _step_watchers(net)]
    with _recorded(net.history, prefix, iterator.sizes()) as losses:
        if needs_own_step(net.optimizer_):
            losses.append(by_torch(next(batches)))
            for look in looks:
                look()
        with nullcontext() if fit_params else stack_steps(net, iterator, bool(looks)) as without_autograd:
            step = without_autograd or by_torch
            for batch in batches:
                losses.append(step(batch))
                for look in looks:
                    look()


def _step_watchers(net: Any) -> list[Watcher]:
    """What looks at the weights after each step: of the callbacks, and of the strategy of the estimator."""
    found = [*(callback for _, callback in net.callbacks_), *getattr(net, "_watchers", ())]
    return [callback for callback in found if isinstance(callback, Watcher) and callback.per_step]


def score_epoch(net: Any, iterator: TensorBatches, prefix: str, **fit_params: Any) -> None:
    """`NeuralNet.run_single_epoch` of validation; predictions go to the callbacks that score them."""
    net._set_training(False)
    scores = [callback for _, callback in net.callbacks_ if type(callback) in SCORES]
    infer = net._inference()
    with torch.no_grad(), _recorded(net.history, prefix, iterator.sizes()) as losses:
        for batch in iterator:
            with net._weighing(batch):
                y_pred = infer(batch[0], **fit_params)
                losses.append(net.get_loss(y_pred, batch[1], X=batch[0], training=False))
            for callback in scores:
                callback.on_batch_end(net, batch=batch, y_pred=y_pred, training=False)


@contextmanager
def _recorded(history: History, prefix: str, sizes: list[int]) -> Iterator[list[torch.Tensor]]:
    """A list for the losses of an epoch's batches; entered as skorch does one by one, also if it is broken off."""
    losses: list[torch.Tensor] = []
    try:
        yield losses
    finally:
        if losses:
            history[-1]["batches"] += [
                {f"{prefix}_loss": loss, f"{prefix}_batch_size": size}
                for loss, size in zip(torch.stack(losses).tolist(), sizes[: len(losses)], strict=True)
            ]
    history.record(f"{prefix}_batch_count", len(sizes))


def _torch_step(net: Any, fit_params: dict, batch: Any) -> torch.Tensor:
    """Train on a batch as torch does; its loss."""
    X, y = batch
    net.optimizer_.zero_grad()
    with net._weighing(batch):
        loss = net.get_loss(net.infer(X, **fit_params), y, X=X, training=True)
    loss.backward()
    net.optimizer_.step()
    shrink_gates(net.module_, net.optimizer_)
    return loss.detach()
