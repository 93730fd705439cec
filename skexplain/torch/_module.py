"""A multilayer perceptron that takes raw columns, and layers for these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from .._categories import FIRST, UNKNOWN, embedding_width
from .._defaults import ACTIVATION, DROPOUT, EMBEDDING_STD, HIDDEN

ACTIVATIONS = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "linear": nn.Identity,
}


def activation_layer(name: str) -> nn.Module:
    """The activation of this name."""
    if name not in ACTIVATIONS:
        raise ValueError(f"Unknown activation {name!r}; valid names are {sorted(ACTIVATIONS)}.")
    return ACTIVATIONS[name]()


def check_hidden(hidden: Sequence[int]) -> None:
    """Refuse what are no widths of layers."""
    if not isinstance(hidden, Iterable) or any(not isinstance(w, Integral) or w < 1 for w in hidden):
        raise ValueError(f"hidden={hidden!r} must be a sequence of widths of at least 1, such as (64, 64).")


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The layers of a plain stack; none for other modules."""
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return []
    return list(module)


class _Affine(nn.Module):
    """A mean and a scale that are not trained, but are part of the weights file."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: ArrayLike, scale: ArrayLike) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.get_default_dtype()))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.get_default_dtype()))


class Standardise(_Affine):
    """``(x - mean) / scale``; folded into the first layer by attributions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.scale


class Rescale(_Affine):
    """``mean + scale * z``: predictions back in the target's units."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.mean + self.scale * z


class EmbedCodes(nn.Module):
    """Codes of categorical columns become learned vectors, beside the other columns as they are.

    Parameters
    ----------
    n_features : int
        Columns of the table, codes and numbers.
    cardinalities : mapping of int to int
        For each column of codes how many there are; code 0, of a level that was not there in training, is always the
        zero vector.
    widths : mapping of int to int, default=None
        Numbers in a vector of each column; None: by `embedding_width`.

    Attributes
    ----------
    owners : list of int
        The column that each number of the output comes from.

    Examples
    --------
    >>> import torch
    >>> from skexplain.torch import EmbedCodes
    >>> embed = EmbedCodes(3, {1: 5}, {1: 2})
    >>> embed.owners, embed(torch.tensor([[0.5, 3.0, -1.0]])).shape
    ([0, 2, 1, 1], torch.Size([1, 4]))
    """

    def __init__(
        self, n_features: int, cardinalities: Mapping[int, int], widths: Mapping[int, int] | None = None
    ) -> None:
        super().__init__()
        self.codes = sorted(cardinalities)
        self.numbers = [j for j in range(n_features) if j not in cardinalities]
        sizes = {j: embedding_width(cardinalities[j]) if widths is None else widths[j] for j in self.codes}
        tables = [nn.Embedding(cardinalities[j], sizes[j], padding_idx=UNKNOWN) for j in self.codes]
        for table in tables:
            nn.init.normal_(table.weight, std=EMBEDDING_STD)
            nn.init.zeros_(table.weight[:FIRST])
        self.tables = nn.ModuleList(tables)
        self.owners = self.numbers + [j for j in self.codes for _ in range(sizes[j])]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vectors = [table(x[:, j].long()) for j, table in zip(self.codes, self.tables, strict=True)]
        return torch.cat([x[:, self.numbers], *vectors], dim=1)


class MLP(nn.Sequential):
    """A multilayer perceptron on raw columns: standardise, hidden layers, linear output.

    Categorical columns, of which it gets codes, are embedded.

    With ``module=MLP``, `NeuralNetClassifier` and `NeuralNetRegressor` take sizes, means and scales from the data, and
    train as they do their default, `ColumnGatedMLP`; the others are set as ``module__hidden`` and so on.

    Parameters
    ----------
    n_features : int
        Width of the input.
    n_outputs : int
        Number of logits or predictions.
    hidden : sequence of int, default=(64, 64)
        Widths of the hidden layers.
    activation : str, default="relu"
        One of "relu", "gelu", "silu", "elu", "selu", "leaky_relu", "tanh", "sigmoid", "softplus", "linear".
    dropout : float, default=0.0
        Probability with which a hidden unit is dropped in training.
    cardinalities : mapping of int to int, optional
        For each column of codes how many there are; see `EmbedCodes`.
    mean, scale : array-like of shape (n_features,), optional
        Of the training columns; those of codes do not count.
    target_mean, target_scale : array-like of shape (n_outputs,), optional
        Of the target, for regression.

    Raises
    ------
    ValueError
        For an unknown activation, or a width below 1.

    Examples
    --------
    >>> from skexplain.torch import MLP
    >>> [tuple(p.shape) for p in MLP(3, 2, hidden=(4,)).parameters()]
    [(4, 3), (4,), (2, 4), (2,)]
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        hidden: Sequence[int] = HIDDEN,
        activation: str = ACTIVATION,
        dropout: float = DROPOUT,
        cardinalities: Mapping[int, int] | None = None,
        mean: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        target_mean: ArrayLike | None = None,
        target_scale: ArrayLike | None = None,
    ) -> None:
        check_hidden(hidden)
        layers: list[nn.Module] = []
        width = n_features
        if cardinalities:
            embed = EmbedCodes(n_features, cardinalities)
            layers.append(embed)
            width, k = len(embed.owners), len(embed.numbers)
            if mean is not None and scale is not None:  # vectors are on a scale of their own
                rest = np.zeros(width - k)
                mean = np.append(np.asarray(mean)[embed.numbers], rest)
                scale = np.append(np.asarray(scale)[embed.numbers], rest + 1)
        if mean is not None and scale is not None:
            layers.append(Standardise(mean, scale))
        widths = [width, *hidden]
        for n_in, n_out in zip(widths, hidden, strict=False):
            layers += [nn.Linear(n_in, n_out), activation_layer(activation)]
            layers += [nn.Dropout(dropout)] if dropout else []
        layers.append(nn.Linear(widths[-1], n_outputs))
        if target_mean is not None and target_scale is not None:
            layers.append(Rescale(target_mean, target_scale))
        super().__init__(*layers)
