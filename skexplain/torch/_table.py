"""Modules that take several inputs, as functions of one table."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._inputs import Input, Inputs


class TakesTable(nn.Module):
    """A module as a function of a table whose columns are its inputs.

    Parameters
    ----------
    module : nn.Module
    inputs : Inputs
    """

    def __init__(self, module: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.module, self.inputs = module, inputs

    def forward(self, x: Tensor, **kwargs: Any) -> Any:
        parts = [_part(x, part) for part in self.inputs.parts]
        if self.inputs.named:
            return self.module(**{str(p.name): v for p, v in zip(self.inputs.parts, parts, strict=True)}, **kwargs)
        return self.module(*parts, **kwargs)


def _part(x: Tensor, part: Input) -> Tensor:
    if part.constant is not None:  # not made from x, so that operations on it are none on the row
        kind = torch.long if part.whole else x.dtype
        return torch.as_tensor(part.constant, dtype=kind, device=x.device).expand(len(x), *part.shape)
    columns, k = part.columns, len(part.columns)
    adjoining = k > 0 and np.array_equal(columns, np.arange(columns[0], columns[0] + k))
    values = x[:, columns[0] : columns[0] + k] if adjoining else x[:, torch.as_tensor(columns, device=x.device)]
    values = values.reshape(len(x), *part.shape)
    if part.boolean:
        return values.bool()
    return values.long() if part.whole else values


def takes_two(module: nn.Module) -> bool:
    """Whether ``forward`` asks for two arguments."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) == 2
