"""A Keras model on torch behind the Network boundary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._embedded import Embedded, may_hold_codes
from .._head import Head
from ..torch._attentions import Attended, differentiable
from ..torch._maps import Maps
from ..torch._network import TorchNetwork
from ..torch._untouched import as_tensor
from ._activation import call, calling, without_activation
from ._attentions import attending
from ._default import starts_with_encoder
from ._first_dense import each_alone
from ._maps import looking


class _WithoutEnding(torch.nn.Module):
    """The model as a module that gives what stands before its last activation."""

    def __init__(self, model: Any, ending: Any) -> None:
        super().__init__()
        self.model, self._ending = model, [ending]  # in a list: a layer is a module too, and is there already

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (ending,) = self._ending
        with nullcontext() if ending is None else without_activation(ending):
            return call(self.model, x)


class _BehindEncoder(torch.nn.Module):
    """The model, whose first layer embeds codes, as a module of what that layer returns."""

    def __init__(self, module: Any, features: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.features = module, features

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        encoder = next(iter(each_alone(self.module.model)))  # not kept: a copy has its own
        with calling(encoder, lambda inputs, *args, **kwargs: z):
            return self.module(z.new_zeros((len(z), *self.features)))


class _KerasOnTorch(TorchNetwork):
    """A `TorchNetwork` whose layers are those of Keras."""

    def embedded(self, rows: NDArray) -> Embedded | None:
        layers = list(each_alone(self.module.model))
        if not may_hold_codes(rows) or not starts_with_encoder(layers):
            return super().embedded(rows)
        encoder = layers[0]
        owners, n_numbers = np.array(encoder.owners), len(encoder.numbers)
        return self._behind(_BehindEncoder(self.module, rows.shape[1:]), encoder, owners, n_numbers, rows)

    @contextmanager
    def _maps(self, layer: str | None) -> Iterator[Maps]:
        maps = Maps(layer)
        maps.channels_first = False

        def reading(inputs: Any, channels_first: bool) -> None:
            maps.reading(inputs.shape, channels_first=channels_first)

        def keep(out: Any, channels_first: bool) -> Any:
            maps.channels_first = channels_first
            return maps.keep(out)

        with looking(self.module.model, layer, reading, keep):
            yield maps

    @contextmanager
    def _attending(self) -> Iterator[Attended]:
        attended = Attended()
        with attending(self.module.model, _watched, attended.keep):
            yield attended


def _watched(v: Any) -> Any:
    """A tensor with a gradient where gradients are wanted, and its mask."""
    if not isinstance(v, torch.Tensor):
        return v
    same: Any = differentiable(v)
    if same is not v and hasattr(v, "_keras_mask"):
        same._keras_mask = v._keras_mask
    return same


def network_on_torch(
    model: Any, head: Head, *, classes: NDArray | None, ending: Any, recover: bool, rows: NDArray
) -> TorchNetwork:
    """Parameters as for `skexplain.keras._tensorflow.KerasNetwork`."""
    module = _WithoutEnding(model, ending)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    dtype = torch.float64 if model.compute_dtype == "float64" else torch.float32
    return _KerasOnTorch(
        module,
        head,
        classes=classes,
        dtype=dtype,
        device=device,
        unwrap=recover,
        separable=True,
        rows=as_tensor(rows[:8]).to(dtype=dtype, device=device),
    )
