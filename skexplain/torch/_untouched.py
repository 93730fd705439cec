"""Contexts that leave the module, the gradients and the random generators as they were."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for the time of the block; flags, attributes, buffers and random states are restored.

    Weights need no care, but for those of embeddings with a ``max_norm``, nor does ``.grad``: gradients are only ever
    taken with respect to inputs. One thread at a time, since what is set for the time of the block holds for all of
    them.
    """
    with _ONE_AT_A_TIME:
        yield from _untouched(module)


#: Modes of torch and of a module belong to the process.
_ONE_AT_A_TIME = threading.RLock()


def _untouched(module: nn.Module) -> Iterator[None]:
    attributes = [(m, {k: v for k, v in m.__dict__.items() if k != "training"}) for m in module.modules()]
    flags = [(m, m.training) for m in module.modules()]
    buffers = [
        (m, name, b, b._version, b.clone()) for m in module.modules() for name, b in m._buffers.items() if b is not None
    ]
    # what bounds its weights does so in the forward pass
    bounded = [m.weight for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.max_norm]
    weights = [(w, w.detach().clone()) for w in bounded]
    with torch.random.fork_rng(devices=cuda_devices(module)):
        try:
            for m, _ in flags:
                m.training = False
            yield
        finally:
            for m, training in flags:
                m.training = training
            for m, saved_attributes in attributes:  # what a module keeps between calls
                for name in m.__dict__.keys() - saved_attributes.keys() - {"training"}:
                    del m.__dict__[name]
                m.__dict__.update(saved_attributes)
            with torch.no_grad():
                for weight, saved in weights:
                    weight.copy_(saved)
                for m, name, buffer, version, saved in buffers:
                    m._buffers[name] = buffer
                    if buffer._version != version:
                        buffer.copy_(saved)


@contextmanager
def seeded(seed: int | None, module: nn.Module | None = None) -> Iterator[None]:
    """Seed every generator for the time of the block, then put the old states back; None does neither."""
    if seed is None:
        yield
        return
    numpy_state, python_state = np.random.get_state(), random.getstate()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.callback(np.random.set_state, numpy_state)
        stack.callback(random.setstate, python_state)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield


def cuda_devices(module: nn.Module) -> list[int]:
    """Indices of the CUDA devices that hold the module."""
    return sorted({p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"})


def as_tensor(X: NDArray) -> torch.Tensor:
    """The array as a tensor, sharing its memory where possible; nothing of ours writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.as_tensor(np.ascontiguousarray(X))
