"""Small torch networks that have learned the planted truths."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .planted import KINDS, Planted


class Categories(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Embedding(5, 3), nn.Embedding(4, 2)
        self.a, self.out = nn.Linear(7, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        vectors = [self.first(x[:, 1].long()), self.second(x[:, 3].long())]
        return self.out(F.relu(self.a(torch.cat([*vectors, x[:, [0, 2]]], 1))))


class Pictures(nn.Module):
    """Channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.a(x)).amax((2, 3)))


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv1d(2, 8, 3, padding=1), nn.Linear(48, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x.transpose(1, 2))).transpose(1, 2)
        return self.out(F.relu(self.b(h.flatten(1))))


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.a, self.out = nn.Embedding(12, 6), nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.a(self.embed(x.long()))).mean(1))


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.a, self.out = nn.Embedding(5, 3), nn.Linear(5, 16), nn.Linear(16, 3)

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        return self.out(F.relu(self.a(torch.cat([self.embed(codes[:, 0]), numbers], 1))))


MADE = dict(zip(KINDS, (Categories, Pictures, Sequences, Words, Several), strict=True))


@cache
def net(kind: str) -> nn.Module:
    """A network of the kind, trained."""
    data = KINDS[kind]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = MADE[kind]()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(called(module, kind, data), torch.as_tensor(data.y)).backward()
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return module.eval()


def called(module: nn.Module, kind: str, data: Planted) -> Tensor:
    X = readable(kind, data.X)
    return (
        module(**{k: torch.as_tensor(v) for k, v in X.items()}) if isinstance(X, dict) else module(torch.as_tensor(X))
    )


def readable(kind: str, X: Any) -> Any:
    """Rows as the networks read them: channels first."""
    return np.ascontiguousarray(np.moveaxis(X, -1, 1)) if kind == "pictures" else X


def columns_last(kind: str, values: NDArray) -> NDArray:
    """Values ``(n, n_columns)`` in the order of the data."""
    return values  # of one channel the order is the same
