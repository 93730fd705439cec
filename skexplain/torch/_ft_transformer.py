"""FTTransformer: a transformer whose tokens are the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ._module import Rescale, Standardise


class FeatureTokenizer(nn.Module):
    """A token for each column: of a number x the vector ``x w + b``, of a code its own vector.

    Parameters
    ----------
    n_features : int
    width : int
        Length of a token.
    cardinalities : mapping of int to int
        Number of codes of each column that holds codes.
    """

    order: Tensor

    def __init__(self, n_features: int, width: int, cardinalities: Mapping[int, int]) -> None:
        super().__init__()
        self.codes = sorted(cardinalities)
        self.numbers = [j for j in range(n_features) if j not in cardinalities]
        self.weight = nn.Parameter(torch.empty(len(self.numbers), width))
        self.bias = nn.Parameter(torch.empty(len(self.numbers), width))
        self.embeddings = nn.ModuleList(nn.Embedding(cardinalities[j], width) for j in self.codes)
        # tokens are made of numbers first, and then stand in the order of the columns
        self.register_buffer("order", torch.tensor(self.numbers + self.codes).argsort(), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all vectors from one distribution, as the paper does."""
        limit = self.weight.shape[1] ** -0.5
        for p in self.parameters():
            nn.init.uniform_(p, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(n, n_features, width)`` of rows ``(n, n_features)``."""
        if not self.codes:
            return x[..., None] * self.weight + self.bias
        numbers = x[:, self.numbers, None] * self.weight + self.bias
        codes = [look_up(x[:, j].long())[:, None] for j, look_up in zip(self.codes, self.embeddings, strict=True)]
        return torch.cat([numbers, *codes], 1).index_select(1, self.order)


class Block(nn.Module):
    """Attention and a gated layer, each around a connection; the norms stand in front."""

    def __init__(self, width: int, n_heads: int, hidden: int, dropout: float, *, first: bool) -> None:
        super().__init__()
        # the paper leaves out the very first norm
        self.before_attention = nn.Identity() if first else nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, n_heads, dropout=dropout, batch_first=True)
        self.before_hidden = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 2 * hidden)
        self.dropout = nn.Dropout(dropout)
        self.back = nn.Linear(hidden, width)

    def forward(self, h: Tensor) -> Tensor:
        z = self.before_attention(h)
        h = h + self.attention(z, z, z, need_weights=False)[0]
        value, gate = self.hidden(self.before_hidden(h)).chunk(2, -1)
        return h + self.back(self.dropout(value * F.relu(gate)))


class FTTransformer(nn.Module):
    """A transformer on the columns of a table: a token a column, and one that the output is read from.

    For ``NeuralNetClassifier(FTTransformer)`` and ``NeuralNetRegressor(FTTransformer)``, which give it its sizes; the
    others are set as ``module__width`` and so on. Slower than an `MLP` of the same accuracy; its attention can be
    looked at (`attributions.Attention`), and all other strategies work on it. Columns of numbers should be
    standardised, in front or by ``mean`` and ``scale``.

    Parameters
    ----------
    n_features : int
        Width of the input.
    n_outputs : int
        Number of logits or predictions.
    n_blocks : int, default=3
        Layers of attention.
    width : int, default=192
        Length of a token.
    n_heads : int, default=8
        Of each attention; a divisor of ``width``.
    dropout : float, default=0.1
        Of attention weights and hidden units, in training.
    hidden_factor : float, default=4/3
        Width of the hidden layers, as a multiple of ``width``.
    cardinalities : mapping of int to int, optional
        For each column that holds codes 0, 1, ... instead of numbers: how many codes there are. Each code has a token
        of its own.
    mean, scale : array-like of shape (n_features,), optional
        Of the training columns; those of codes are not used.
    target_mean, target_scale : array-like of shape (n_outputs,), optional
        Of the target, for regression.

    Raises
    ------
    ValueError
        For sizes below 1, a width that ``n_heads`` does not divide, or cardinalities of columns that do not exist.

    Notes
    -----
    The classification token is the first, in front of the tokens of the columns in their order. Blocks, norms, the
    gated layer (ReGLU) and the sizes are those of the paper.

    References
    ----------
    Y. Gorishniy, I. Rubachev, V. Khrulkov, A. Babenko, "Revisiting deep learning models for tabular data", NeurIPS
    2021.

    Examples
    --------
    >>> import torch
    >>> from skexplain.torch import FTTransformer
    >>> FTTransformer(5, 2, n_blocks=1, width=16, n_heads=2)(torch.zeros(3, 5)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        n_blocks: int = 3,
        width: int = 192,
        n_heads: int = 8,
        dropout: float = 0.1,
        hidden_factor: float = 4 / 3,
        cardinalities: Mapping[int, int] | None = None,
        mean: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        target_mean: ArrayLike | None = None,
        target_scale: ArrayLike | None = None,
    ) -> None:
        sizes = {"n_blocks": n_blocks, "width": width, "n_heads": n_heads}
        for name, size in sizes.items():
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(f"{name}={size!r} must be a whole number of at least 1.")
        if width % n_heads:
            raise ValueError(f"width={width} must be a multiple of n_heads={n_heads}.")
        cardinalities = dict(cardinalities or {})
        if any(not (isinstance(j, Integral) and 0 <= j < n_features and c >= 1) for j, c in cardinalities.items()):
            raise ValueError(
                f"cardinalities={cardinalities!r} must give a number of codes of at least 1 to places among the "
                f"{n_features} columns."
            )
        super().__init__()
        self.standardise: nn.Module = nn.Identity()
        if mean is not None and scale is not None:
            centre, spread, codes = np.array(mean, dtype=float), np.array(scale, dtype=float), list(cardinalities)
            centre[codes], spread[codes] = 0, 1  # codes stay what they are
            self.standardise = Standardise(centre, spread)
        self.tokens = FeatureTokenizer(n_features, width, cardinalities)
        self.cls = nn.Parameter(torch.empty(width))
        hidden = max(1, int(width * hidden_factor))
        self.blocks = nn.Sequential(*(Block(width, n_heads, hidden, dropout, first=k == 0) for k in range(n_blocks)))
        self.before_output = nn.LayerNorm(width)
        self.output = nn.Linear(width, n_outputs)
        self.rescale: nn.Module = nn.Identity()
        if target_mean is not None and target_scale is not None:
            self.rescale = Rescale(target_mean, target_scale)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the classification token."""
        limit = len(self.cls) ** -0.5
        nn.init.uniform_(self.cls, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:
        """Logits or predictions ``(n, n_outputs)`` of rows ``(n, n_features)``."""
        tokens = self.tokens(self.standardise(x))
        cls = self.cls.expand(len(x), 1, -1)
        h = self.blocks(torch.cat([cls, tokens], 1))[:, 0]
        return self.rescale(self.output(F.relu(self.before_output(h))))
