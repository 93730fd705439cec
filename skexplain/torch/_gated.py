"""The default module: columns encoded one by one, a gate for each, and a multilayer perceptron behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .._defaults import ACTIVATION, DROPOUT, HIDDEN
from .._pieces import Pieces, piecewise
from ._module import EmbedCodes, Rescale, activation_layer, check_hidden


class EncodeNumbers(nn.Module):
    """Each number of a row becomes its standardised value and pieces of its range; see `skexplain._pieces.Pieces`.

    Parameters
    ----------
    pieces : Pieces
    """

    owners: Tensor
    shift: Tensor
    rest: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self.register_buffer("owners", torch.as_tensor(pieces.owners))
        values = pieces._asdict() | {"shift": pieces.shift.astype(np.float32)}
        # what rounding leaves of a shift: far from 0 it may be more than the width of a piece
        values["rest"] = pieces.shift - values["shift"]
        for name in ("shift", "rest", "scale", "low", "high"):
            self.register_buffer(name, torch.as_tensor(values[name], dtype=torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        differences = x.index_select(1, self.owners) - self.shift - self.rest
        return (differences / self.scale).clamp(self.low, self.high)


class GatedLinear(nn.Module):
    """A linear layer behind one gate a column, by which all numbers of the column are multiplied.

    Parameters
    ----------
    owners : array-like of int, of shape (n_inputs,)
        The column that each input comes from.
    out_features : int
    n_members : int, default=1
        Networks side by side, each with gates and ``out_features`` outputs of its own.
    sparsity : float, default=0
        See `shrink`.
    constant : array-like of bool, of shape (n_inputs,), optional
        Inputs that are always 0: no gradient would move their weights, which are 0 from the beginning, nor the gates of
        columns that have no others, which are closed.

    Attributes
    ----------
    gate : Parameter of shape (n_members, n_columns)
    weight : Parameter of shape (n_members * out_features, n_inputs)
    bias : Parameter of shape (n_members * out_features,)
    """

    owners: Tensor

    def __init__(
        self,
        owners: ArrayLike,
        out_features: int,
        n_members: int = 1,
        sparsity: float = 0.0,
        constant: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        owners = np.asarray(owners)
        self.register_buffer("owners", torch.as_tensor(owners))
        self.in_features, self.out_features = len(owners), n_members * out_features
        self.sparsity, self.columns = sparsity, owners
        self.constant = np.zeros(len(owners), dtype=bool) if constant is None else np.asarray(constant)
        self.gate = nn.Parameter(torch.empty(n_members, int(owners.max()) + 1))
        self.weight = nn.Parameter(torch.empty(n_members * out_features, len(self.owners)))
        self.bias = nn.Parameter(torch.empty(n_members * out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Open gates, and weights as in `nn.Linear`."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.ones_(self.gate)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        with torch.no_grad():
            self.weight[:, self.constant] = 0
            self.gate[:, np.setdiff1d(self.columns, self.columns[~self.constant])] = 0

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.gated_weight(), self.bias)

    def gated_weight(self) -> Tensor:
        """The weights multiplied by their gates."""
        return (self._by_member(self.weight) * self.gate.index_select(1, self.owners)[:, None]).view_as(self.weight)

    def _by_member(self, weight: Tensor) -> Tensor:
        return weight.view(len(self.gate), -1, weight.shape[1])

    def shrink(self, lr: float) -> None:
        """The proximal step of an L1 penalty on the gates: all come nearer to 0 by ``lr * sparsity``, to 0 at most."""
        if self.sparsity:
            with torch.no_grad():
                self.gate.copy_(nn.functional.softshrink(self.gate, lr * self.sparsity))


class MembersLinear(nn.Module):
    """Linear layers of several networks side by side.

    Parameters
    ----------
    n_members, in_features, out_features : int
        Inputs and outputs are ``(n, n_members * features)``.
    """

    def __init__(self, n_members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_members, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(n_members, 1, out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As in `nn.Linear`."""
        bound = 1 / math.sqrt(self.weight.shape[2])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        members = x.view(len(x), *self.weight.shape[::2]).transpose(0, 1)
        return torch.baddbmm(self.bias, members, self.weight.mT).transpose(0, 1).flatten(1)


class MeanOfMembers(nn.Module):
    """Outputs ``(n, n_members * k)`` of several networks become their mean ``(n, k)``.

    In training each is to predict on its own: they stand below each other then, ``(n_members * n, k)``, and each gets
    the gradient that it would get alone.

    Parameters
    ----------
    n_members : int
    """

    def __init__(self, n_members: int) -> None:
        super().__init__()
        self.n_members = n_members

    def forward(self, x: Tensor) -> Tensor:
        members = x.view(len(x), self.n_members, -1)
        if not self.training:
            return members.mean(1)
        if members.requires_grad:
            members.register_hook(lambda g: g * self.n_members)
        return members.transpose(0, 1).flatten(0, 1)


class ColumnGatedMLP(nn.Sequential):
    """A network that finds the columns that matter: each is encoded on its own and multiplied by one gate.

    What `NeuralNetClassifier` and `NeuralNetRegressor` build when ``module`` is left out; sizes, means, scales and
    edges then come from the data, the others are set as ``module__hidden`` and so on. The estimators shrink the gates
    after each step of the optimizer, so that those of columns that do not help become 0; in a training loop of your
    own, call `shrink_gates` there.

    Parameters
    ----------
    n_features : int
        Width of the input.
    n_outputs : int
        Number of logits or predictions.
    hidden : sequence of int, default=(64, 64)
        Widths of the hidden layers, at least one.
    activation : str, default="relu"
        One of "relu", "gelu", "silu", "elu", "selu", "leaky_relu", "tanh", "sigmoid", "softplus", "linear".
    dropout : float, default=0.0
        Probability with which a hidden unit is dropped in training.
    sparsity : float or "auto", default="auto"
        After each step of the optimizer, gates come nearer to 0 by the learning rate times this; an optimizer such as
        Adam moves them by the learning rate at most, so that above 1 all of them close in the end, those that matter
        last, and the epoch of the best held-out loss says which are open. "auto": the estimators try a few values
        and take the largest whose held-out loss is within one standard error of the best; 0 where no rows are held
        out.
    n_ensemble : int, default=1
        Networks that are trained side by side from different weights; predictions are means of theirs. In training
        mode, outputs are those of each network, ``(n_ensemble * n, n_outputs)``, the first's for all rows first, for a
        mean loss on targets that are repeated as often; each then gets the slopes that it would get alone.
    cardinalities : mapping of int to int, optional
        For each column of codes how many there are; see `EmbedCodes`.
    mean, scale : array-like of shape (n_features,), optional
        Of the training columns; those of codes do not count.
    edges : array-like of shape (n_edges, n_features), optional
        Rising values of each column, such as its quantiles, between which it has a piece; those of codes do not count.
        None: no pieces.
    target_mean, target_scale : array-like of shape (n_outputs,), optional
        Of the target, for regression.

    Attributes
    ----------
    gates_ : ndarray of shape (n_features,)
        Size of the gates, mean over the networks. 0 is a column that the network does not read.

    Raises
    ------
    ValueError
        For an unknown activation, a width below 1, no hidden layer, a negative sparsity, no network.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS
    2022 (encoding). I. Lemhadri, F. Ruan, L. Abraham, R. Tibshirani, "LassoNet: a neural network with feature
    sparsity", JMLR 2021 (proximal steps, a path of penalties).

    Examples
    --------
    >>> import torch
    >>> from skexplain.torch import ColumnGatedMLP
    >>> net = ColumnGatedMLP(3, 2, hidden=(4,), edges=[[0, 0, 0], [1, 2, 3], [2, 4, 6]])
    >>> net(torch.zeros(5, 3)).shape, net.gates_
    (torch.Size([5, 2]), array([1., 1., 1.], dtype=float32))
    """

    n_ensemble: int

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        hidden: Sequence[int] = HIDDEN,
        activation: str = ACTIVATION,
        dropout: float = DROPOUT,
        sparsity: float | str = "auto",
        n_ensemble: int = 1,
        cardinalities: Mapping[int, int] | None = None,
        mean: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        edges: ArrayLike | None = None,
        target_mean: ArrayLike | None = None,
        target_scale: ArrayLike | None = None,
    ) -> None:
        check_hidden(hidden)
        if not len(hidden):
            raise ValueError("hidden=() leaves no hidden layer; use module=MLP, or a width such as (64,).")
        if not isinstance(n_ensemble, Integral) or n_ensemble < 1:
            raise ValueError(f"n_ensemble={n_ensemble!r} must be a whole number of at least 1.")
        if sparsity != "auto" and not (isinstance(sparsity, Real) and 0 <= sparsity < np.inf):
            raise ValueError(f"sparsity={sparsity!r} must be 'auto' or a number of at least 0.")
        layers: list[nn.Module] = []
        numbers, columns = list(range(n_features)), list(range(n_features))
        if cardinalities:
            embed = EmbedCodes(n_features, cardinalities)
            layers.append(embed)
            numbers, columns = embed.numbers, embed.owners
        mean = np.zeros(n_features) if mean is None else np.asarray(mean)
        scale = np.ones(n_features) if scale is None else np.asarray(scale)
        edges = None if edges is None else np.asarray(edges)[:, numbers]
        pieces = piecewise(mean[numbers], scale[numbers], edges, len(columns) - len(numbers))
        constant = pieces.low == pieces.high
        if edges is not None:
            unmoved = np.append(edges[0] == edges[-1], np.zeros(len(columns) - len(numbers), dtype=bool))
            constant |= unmoved[pieces.owners]
        first = GatedLinear(
            np.array(columns)[pieces.owners],
            hidden[0],
            n_ensemble,
            0.0 if isinstance(sparsity, str) else float(sparsity),
            constant,
        )
        layers += [EncodeNumbers(pieces), first]
        for n_in, n_out in zip(hidden, [*hidden[1:], n_outputs], strict=True):
            layers.append(activation_layer(activation))
            layers += [nn.Dropout(dropout)] if dropout else []
            layers.append(nn.Linear(n_in, n_out) if n_ensemble == 1 else MembersLinear(n_ensemble, n_in, n_out))
        layers += [MeanOfMembers(n_ensemble)] if n_ensemble > 1 else []
        if target_mean is not None and target_scale is not None:
            layers.append(Rescale(target_mean, target_scale))
        super().__init__(*layers)
        self.n_ensemble, self.sparsity = n_ensemble, sparsity

    @property
    def gates_(self) -> np.ndarray:
        """Size of each column's gate, mean over the networks."""
        return self.gated_layer.gate.detach().abs().mean(0).cpu().numpy()

    @property
    def gated_layer(self) -> GatedLinear:
        return next(layer for layer in self if isinstance(layer, GatedLinear))

    def shrink_gates(self, lr: float) -> None:
        """After a step of the optimizer with this learning rate: the proximal step of the penalty on the gates."""
        self.gated_layer.shrink(lr)


def as_linear(layers: Sequence[nn.Module]) -> nn.Sequential:
    """The same function without gates and members: layers of several networks are one, of zeros between these."""
    found: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, GatedLinear):
            found.append(_linear(layer.gated_weight(), layer.bias))
        elif isinstance(layer, MembersLinear):
            found.append(_linear(torch.block_diag(*layer.weight), layer.bias.flatten()))
        elif isinstance(layer, MeanOfMembers):
            last, m = found.pop(), layer.n_members
            assert isinstance(last, nn.Linear)
            weight, bias = (v.view(m, -1, *v.shape[1:]).mean(0) for v in (last.weight, last.bias))
            found.append(_linear(weight, bias))
        else:
            found.append(layer)
    return nn.Sequential(*found).eval()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (nn.Parameter(v.detach().clone(), requires_grad=False) for v in (weight, bias))
    return layer


def shrink_gates(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """After a step of the optimizer, the proximal step of all layers of the module that have gates."""
    for layer in module.modules():
        if isinstance(layer, GatedLinear) and layer.sparsity:
            layer.shrink(rate_of(layer.gate, optimizer))


def rate_of(parameter: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of a parameter; 0 if it is not trained."""
    groups = (group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))
    return next((float(group["lr"]) for group in groups), 0.0)
