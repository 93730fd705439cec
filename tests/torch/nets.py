"""Small modules, one for each way of using the input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

D = 6


def stack(*layers, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(*layers)


def straight():
    """Networks whose input goes into one linear layer and nowhere else."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(D)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    return {
        "relu": stack(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 3)),
        "linear": stack(nn.Linear(D, 3)),
        "nested": stack(nn.Sequential(nn.Linear(D, 8), nn.GELU()), nn.Linear(8, 3)),
        "dropout": stack(nn.Dropout(0.5), nn.Linear(D, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)),
        "batchnorm": stack(norm, nn.Linear(D, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 3)),
        "flatten": stack(nn.Flatten(), nn.Linear(D, 8), nn.ELU(), nn.Linear(8, 3)),
        "functional": Functional(),
        "residual later": ResidualLater(),
        "softmax": stack(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(dim=1)),
        "log_softmax": stack(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(dim=1)),
        "sigmoid": stack(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid()),
        "one number": OneNumber(),
        "matmul": Matmul(),
    }


def crooked():
    """Networks whose input is used otherwise: the first linear layer must not be taken for the whole."""
    return {
        "residual": Residual(),
        "two heads": TwoHeads(),
        "layernorm first": stack(nn.LayerNorm(D), nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 3)),
        "activation first": stack(nn.Tanh(), nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 3)),
        "square first": SquareFirst(),
        "gate": Gate(),
        "product of weights": ProductOfWeights(),
        "code for missing": CodeForMissing(),
        "convolution": Convolution(),
        "lstm": Recurrent(),
        "part of the columns": PartOfColumns(),
    }


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(D, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a((x - 0.3) / 2)))


class Matmul(Functional):
    def forward(self, x):
        return self.b(torch.tanh(x @ self.a.weight.T + self.a.bias))


class ProductOfWeights(Functional):
    def forward(self, x):
        weight = self.b.weight @ self.a.weight  # no input in the first product
        return x @ weight.T


class OneNumber(Functional):
    def forward(self, x):
        return super().forward(x)[:, 0]


class ResidualLater(Functional):
    def forward(self, x):
        h = F.gelu(self.a(x))
        return self.b(h + torch.tanh(h))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(D, D), nn.Linear(D, 3)

    def forward(self, x):
        return self.b(x + torch.relu(self.a(x)))


class TwoHeads(Functional):
    def forward(self, x):
        return self.b(torch.relu(self.a(x))) * self.b(torch.tanh(self.a(-x)))


class SquareFirst(Functional):
    def forward(self, x):
        return self.b(torch.relu(self.a(x * x)))


class Gate(Functional):
    def forward(self, x):
        return self.b(torch.relu(self.a(x))) * torch.where(x[:, :1] > 0, 1.0, 2.0)


class CodeForMissing(Functional):
    """-999 in the first column is a case of its own, that few rows show."""

    def forward(self, x):
        first = x[:, :1]
        return torch.where(first == -999, torch.full_like(first, 5.0), super().forward(x / 100))


class PartOfColumns(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(D - 1, 8), nn.Linear(9, 3)

    def forward(self, x):
        return self.b(torch.cat([torch.relu(self.a(x[:, 1:])), x[:, :1]], 1))


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv1d(1, 4, 3), nn.Linear(4 * (D - 2), 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x[:, None])).flatten(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(self.a(x[:, :, None])[0][:, -1])


class CodeNet(nn.Module):
    """Column 0 is a category code, read through ``.long()``, and decides nearly everything."""

    def __init__(self, n_outputs=3):
        super().__init__()
        self.code, self.rest = nn.Embedding(4, 5), nn.Linear(5 + 2, n_outputs)

    def forward(self, x):
        return self.rest(torch.cat([self.code(x[:, 0].long()), 0.05 * x[:, 1:3]], 1))
