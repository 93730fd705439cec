"""Data and networks that the cases share. torch is imported here; cases of Keras do not use this file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from skexplain.torch._network import TorchNetwork, torch_network

torch.set_num_threads(1)


class MLP(nn.Sequential):
    """Linear layers with ReLU between them."""

    def __init__(self, n_features: int = 30, widths: tuple[int, ...] = (64, 32), n_outputs: int = 2) -> None:
        sizes = [n_features, *widths]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        super().__init__(*layers, nn.Linear(sizes[-1], n_outputs))


def convolutions() -> nn.Module:
    """Two convolutions and a dense layer for images of 8 x 8."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.ReLU()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 16, 10))


class LSTM(nn.Module):
    """The last state of an LSTM and a dense layer, for sequences of 8 numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.out = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def data(n: int, d: int = 30) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int64)


def network(X: np.ndarray, widths: tuple[int, ...], device: str = "cpu") -> tuple[nn.Module, TorchNetwork]:
    """An untrained module with 2 outputs, and the network of its logits."""
    torch.manual_seed(0)
    module = MLP(X.shape[1], widths).eval().to(device)
    return module, torch_network(module, X, output="logit")


def exact_network(module: nn.Module, X: np.ndarray) -> TorchNetwork:
    """The same in float64, and always on the CPU: what both sides are measured against."""
    return torch_network(copy.deepcopy(module).cpu().double(), X, output="logit")


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, in units of the spread of b."""
    return float(np.abs(a - b).max() / np.std(b))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """Root of the mean squared difference, in units of the spread of b."""
    return float(np.sqrt(np.mean((a - b) ** 2)) / np.std(b))


def products(sizes: list[tuple[int, int, int]], device: str = "cpu") -> Callable[[], None]:
    """Bare matrix products ``(n, k) @ (k, m)`` in float32, 256 rows at a time, so that memory is no matter."""
    operands = []
    for n, k, m in sizes:
        rows = n if device != "cpu" else min(n, 256)
        a, b = torch.rand(rows, k, device=device), torch.rand(k, m, device=device)
        operands.append((max(1, n // rows), a, b, torch.empty(rows, m, device=device)))

    def run() -> None:
        for times, a, b, out in operands:
            for _ in range(times):
                torch.mm(a, b, out=out)
        if device != "cpu":
            torch.cuda.synchronize()

    return run
