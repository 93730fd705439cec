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
from ..torch._gated import EncodeNumbers
from ..torch._maps import Maps
from ..torch._network import TorchNetwork
from ..torch._untouched import as_tensor
from ._activation import call, calling, without_activation
from ._attentions import attending
from ._default import starts_with_encoder
from ._encoded import encodes, folded
from ._first_dense import each_alone
from ._gated import ColumnGatedMLP
from ._maps import looking


class _WithoutEnding(torch.nn.Module):
    """The model as a module that gives what stands before its last activation."""

    def __init__(self, model: Any, ending: Any) -> None:
        super().__init__()
        self.model, self._ending = model, [ending]  # in a list: a layer is a module too, and is there already

    @property
    def ending(self) -> Any:
        return self._ending[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with nullcontext() if self.ending is None else without_activation(self.ending):
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


class _Function(torch.nn.Module):
    """A layer or an activation of Keras among torch's modules."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._function = [function]  # in a list: a layer's weights are no parameters to be trained here

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._function[0](x)


class _KerasOnTorch(TorchNetwork):
    """A `TorchNetwork` whose layers are those of Keras."""

    @property
    def eps(self) -> float:
        """Keras multiplies matrices in float32 on torch, whatever the precision."""
        return max(super().eps, torch.finfo(torch.float32).eps)

    def embedded(self, rows: NDArray) -> Embedded | None:
        layers = list(each_alone(self.module.model))
        if not may_hold_codes(rows) or not starts_with_encoder(layers):
            return super().embedded(rows)
        encoder, *others = layers
        owners, n_numbers = np.array(encoder.owners), len(encoder.numbers)
        module = self._as_torch(others) or _BehindEncoder(self.module, rows.shape[1:])
        return self._behind(module, encoder, owners, n_numbers, rows)

    def encoded(self) -> Embedded | None:
        modules = self._as_torch(list(each_alone(self.module.model)))
        if modules is None:
            return None
        encoder: Any = modules[0]
        owners, rows = encoder.owners.cpu().numpy(), self._rows.cpu().numpy()
        return self._behind(modules[1:], encoder, owners, 0, rows)

    def gates(self) -> NDArray:
        model = self.module.model
        return model.gates_ if isinstance(model, ColumnGatedMLP) else super().gates()

    def _as_torch(self, layers: list[Any]) -> torch.nn.Sequential | None:
        """An encoding of numbers and what is behind it as modules of torch, without gates; None if they are others."""
        parts = folded(layers[1:]) if encodes(layers) else None
        if parts is None:
            return None
        ending, pieces = self.module.ending, layers[0].pieces
        modules: list[torch.nn.Module] = [EncodeNumbers(pieces).to(self.dtype)]
        exact = pieces._asdict() | {"rest": np.zeros(pieces.shift.shape)}
        for name, buffer in modules[0].named_buffers():  # which were made in torch's default precision
            buffer.copy_(torch.as_tensor(exact[name]))
        for layer, weights in parts:
            if weights is not None:
                W, b = (torch.as_tensor(v) for v in weights)
                dense = torch.nn.Linear(W.shape[0], W.shape[1], device="meta")  # which draws no weights
                dense.weight, dense.bias = torch.nn.Parameter(W.T.contiguous()), torch.nn.Parameter(b)
                modules.append(dense)
            if layer is not ending:
                modules.append(_Function(layer if weights is None else layer.activation))
        return torch.nn.Sequential(*modules).to(dtype=self.dtype, device=self.device).requires_grad_(False).eval()

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
