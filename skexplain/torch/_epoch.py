"""An epoch of training without skorch's bookkeeping between batches, where nobody looks on."""

from __future__ import annotations

from typing import Any

import torch
from skorch.callbacks import BatchScoring, Callback, EpochScoring, LRScheduler
from skorch.history import History

from ._loader import TensorBatches

#: What happens in a training step. A class that changes any of it gets skorch's loop.
STEPS = (
    "run_single_epoch",
    "train_step",
    "train_step_single",
    "infer",
    "notify",
    "on_batch_begin",
    "on_batch_end",
    "on_grad_computed",
    "get_train_step_accumulator",
    "_set_training",
    "_zero_grad_optimizer",
    "_step_optimizer",
)
#: What is called for each batch.
LISTENERS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


def unobserved(net: Any, iterator: Any) -> bool:
    """Whether nothing but the weights can tell how the batches of a training epoch are run.

    So it is when batches are slices, the step is skorch's own, with one optimizer that needs no closure, and no
    callback looks at single training batches.
    """
    plain = isinstance(iterator, TensorBatches) and type(net.history) is History
    if not plain or net._optimizers != ["optimizer"]:
        return False
    ours = next(c for c in type(net).__mro__ if c.__module__.startswith("skexplain.torch"))
    if any(getattr(type(net), name) is not getattr(ours, name) or name in vars(net) for name in (*STEPS, "get_loss")):
        return False
    plain_step = type(net.optimizer_).step is not torch.optim.LBFGS.step
    return plain_step and not any(_listens(callback) for _, callback in net.callbacks_)


def _listens(callback: Any) -> bool:
    """Whether a callback looks at batches of training; scores of validation and schedules by epoch do not."""
    if type(callback) in (EpochScoring, BatchScoring) and not callback.on_train:
        return False
    if type(callback) is LRScheduler and callback.step_every == "epoch":
        return False
    return any(getattr(type(callback), name, None) is not getattr(Callback, name) for name in LISTENERS) or any(
        name in vars(callback) for name in LISTENERS
    )


def run_epoch(net: Any, iterator: TensorBatches, prefix: str, **fit_params: Any) -> None:
    """`NeuralNet.run_single_epoch` of training, with the same weights, generators and history after it."""
    optimizer, losses, sizes = net.optimizer_, [], []
    net._set_training(True)
    for batch in iterator:
        X, y = batch
        optimizer.zero_grad()
        with net._weighing(batch):
            loss = net.get_loss(net.infer(X, **fit_params), y, X=X, training=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        sizes.append(len(X))
    batches = net.history[-1]["batches"]
    batches += [
        {f"{prefix}_loss": loss, f"{prefix}_batch_size": size}
        for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=True)
    ]
    net.history.record(f"{prefix}_batch_count", len(sizes))
