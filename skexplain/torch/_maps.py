"""What the convolutions of a module, or one of its layers, return in a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._places import no_convolution, no_maps, unknown_layer
from ..exceptions import UnsupportedModelError

CONVOLUTIONS = {
    *(torch.conv1d, torch.conv2d, torch.conv3d, torch.convolution),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
}


class Maps:
    """What was returned in a run, in order.

    Attributes
    ----------
    layer : str or None
        Whose results they are; None: every convolution's.
    read : tuple of int or None
        Shape ``(*places, n_channels)`` of what the first convolution read of a row.
    channels_first : bool
        How results, and where it is not otherwise known rows, are laid out.
    """

    def __init__(self, layer: str | None) -> None:
        self.layer = layer
        self.read: tuple[int, ...] | None = None
        self.channels_first = True
        self._results: list[Any] = []

    def reading(self, shape: Sequence[int], *, channels_first: bool = True) -> None:
        """Note what a convolution reads."""
        if self.read is None:
            _, *features = shape
            self.read = (*features[1:], features[0]) if channels_first else tuple(features)

    def keep(self, result: Any) -> Any:
        """Keep what is returned; hand on a copy of it, which may be written to."""
        if not isinstance(result, Tensor) or not result.is_floating_point():
            self._results.append(result)
            return result
        result = result if result.requires_grad else result.detach().requires_grad_()
        self._results.append(result)
        return result.clone()

    def last(self, picked: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The last result that ``picked`` depends on, and its gradient, channels last.

        Raises
        ------
        UnsupportedModelError
            When there is none, or it is no map.
        """
        for result in reversed(self._results):
            if not isinstance(result, Tensor) or not result.requires_grad:
                continue
            (gradient,) = torch.autograd.grad(picked, result, retain_graph=True, allow_unused=True)
            if gradient is None:
                continue
            if result.ndim < 3 or len(result) != n:
                raise no_maps(self.layer or "of the last convolution", result.shape, n)
            pair = result.detach(), gradient
            return (pair[0].movedim(1, -1), pair[1].movedim(1, -1)) if self.channels_first else pair
        if self.layer is None:
            raise no_convolution()
        raise UnsupportedModelError(f"The output does not depend on a tensor that layer {self.layer!r} returns.")


class _Convolutions(TorchFunctionMode):
    """Sees every convolution, whatever module it is called by."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self.maps = maps

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func not in CONVOLUTIONS:
            return result
        self.maps.reading((args[0] if args else kwargs["input"]).shape)
        return self.maps.keep(result) if self.maps.layer is None else result


@contextmanager
def maps_of(module: nn.Module, layer: str | None) -> Iterator[Maps]:
    """What a layer, or every convolution, returns in the block.

    Raises
    ------
    ValueError
        For a layer that does not exist.
    """
    maps, layers = Maps(layer), dict(module.named_modules())
    if layer is not None and layer not in layers:
        raise unknown_layer(layer, [name for name in layers if name])
    hook = None if layer is None else layers[layer].register_forward_hook(lambda m, args, out: maps.keep(out))
    try:
        with _Convolutions(maps):
            yield maps
    finally:
        if hook is not None:
            hook.remove()
