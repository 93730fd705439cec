"""Does the input go straight into a linear layer? Then its work is done once, not once a node or column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .._network import chunks

#: Rows of the basis that are run at once.
BASIS_ROWS = 1024

#: Functions that may stand before the layer: affine in each row, as long as their other arguments are constant.
PREAMBLE = {
    F.batch_norm,
    F.dropout,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.flatten,
    torch.reshape,
    torch.add,
    torch.sub,
    torch.mul,
    torch.div,
    torch.true_divide,
    Tensor.flatten,
    Tensor.reshape,
    Tensor.view,
    Tensor.contiguous,
    Tensor.float,
    Tensor.double,
    Tensor.to,
    Tensor.add,
    Tensor.sub,
    Tensor.mul,
    Tensor.div,
    Tensor.__add__,
    Tensor.__radd__,
    Tensor.__sub__,
    Tensor.__rsub__,
    Tensor.__mul__,
    Tensor.__rmul__,
    Tensor.__truediv__,
    Tensor.size,
    Tensor.dim,
    Tensor.__len__,
    torch.as_tensor,
    torch.is_floating_point,
    Tensor.is_floating_point,
}


#: Products with the weights. A product without the input is taken for the layer too, and then found not to be it.
PRODUCTS = {F.linear, torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__}


class _Interception(TorchFunctionMode):
    """Gives the first product ``z`` as its result, if there is a z, and remembers what came before it."""

    def __init__(self, z: Tensor | None = None) -> None:
        super().__init__()
        self.z = z
        self.result: Tensor | None = None
        self.product: tuple[Any, ...] = ()
        self.before: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.result is None and func in PRODUCTS:
            self.result, self.product = (func(*args, **kwargs) if self.z is None else self.z), (func, *args)
            return self.result
        if self.result is None and getattr(func, "__name__", "") != "__get__":  # reading an attribute
            self.before.append(func)
        return func(*args, **kwargs)


#: What may be asked of the input after the layer: its shape, not its values.
METADATA = {Tensor.size, Tensor.dim, Tensor.__len__, Tensor.is_floating_point, torch.is_floating_point}


class _Flow(TorchFunctionMode):
    """Follows what is computed from the input; the first product ends it, and gives ``z``."""

    def __init__(self, x: Tensor, z: Tensor) -> None:
        super().__init__()
        self.z, self.passed, self.looked_again = z, False, False
        self.derived = {id(x): x}  # with the tensors, so that no id is used twice

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.passed and func in PRODUCTS:
            self.passed = True
            return self.z
        out = func(*args, **kwargs)
        if any(id(t) in self.derived for t in _tensors((args, kwargs))):
            read = func in METADATA or (getattr(func, "__name__", "") == "__get__" and not _tensors(out))
            self.looked_again |= self.passed and not read
            self.derived |= {id(t): t for t in _tensors(out)}
        return out


def _tensors(nested: Any) -> list[Tensor]:
    return [t for t in tree_leaves(nested) if isinstance(t, Tensor)]


@dataclass(frozen=True)
class FirstLayer:
    """``z = (x - centre) @ weight + bias``, exactly, and the rest of the network as a function of z.

    Attributes
    ----------
    centre : Tensor of shape (n_features,)
        A typical row; differences to it keep their digits when columns are far from 0.
    weight : Tensor of shape (n_features, width)
        With standardisation and evaluation-mode batch normalisation folded in.
    bias : Tensor of shape (width,)
        Pre-activation of the centre.
    rest : callable
        From z of shape ``(n, width)`` to what the module returns.
    """

    centre: Tensor
    weight: Tensor
    bias: Tensor
    rest: Callable[[Tensor], Any]

    def __call__(self, x: Tensor) -> Tensor:
        """Pre-activations of rows."""
        return (x.flatten(1) - self.centre) @ self.weight + self.bias


def first_layer(module: Callable[[Tensor], Any], X: Tensor) -> FirstLayer | None:
    """Find the linear layer that takes all of the input, or None.

    The module is observed, not parsed: it runs until its first linear layer. What ran before must be affine
    and act on rows one by one; what runs after must not look at the input again.

    Parameters
    ----------
    module : callable
        In evaluation mode.
    X : Tensor of shape (n, *features)
        A few rows.
    """
    try:
        return _first_layer(module, X)
    except (IndexError, RuntimeError, ValueError):  # it cannot read rows made up, or one row alone
        return None


def _first_layer(module: Callable[[Tensor], Any], X: Tensor) -> FirstLayer | None:
    features = X.shape[1:]
    with torch.no_grad():
        seen = _until_product(module, X)
        expected = seen.result
        if expected is None or expected.ndim != 2 or len(expected) != len(X):
            return None
        if not all(f in PREAMBLE for f in seen.before):
            return None
        centre = X.flatten(1).mean(0)
        bias = _until_product(module, centre.view(1, *features)).result
        assert bias is not None
        func, *args = seen.product
        weight = args[1].detach().T if func is F.linear and args[0] is X else _slopes(module, X, centre, bias)
        layer = FirstLayer(centre, weight, bias[0], _rest(module, X))
        # the identity must hold on the rows themselves, to rounding
        size = (expected - bias).abs().amax() + bias.abs().amax() + torch.finfo(X.dtype).tiny
        exact = (layer(X) - expected).abs().amax() <= 200 * torch.finfo(X.dtype).eps * size
        return layer if exact and _input_is_used_once(module, X, expected) else None


def _slopes(module: Callable, X: Tensor, centre: Tensor, bias: Tensor) -> Tensor:
    """Weights of the layer, with what stands before it, by steps from the centre as long as the columns' spread."""
    step = (X.flatten(1) - centre).abs().amax(0)
    step = torch.where(step > 0, step, torch.ones_like(step))
    parts = []
    for block in chunks(len(step), BASIS_ROWS):
        z = _until_product(module, (centre + _corner(step, block)).view(-1, *X.shape[1:])).result
        assert z is not None
        parts.append((z - bias) / step[block, None])
    return torch.cat(parts)


def _corner(step: Tensor, block: slice) -> Tensor:
    rows = torch.zeros(block.stop - block.start, len(step), dtype=step.dtype, device=step.device)
    rows[torch.arange(len(rows)), torch.arange(block.start, block.stop)] = step[block]
    return rows


def _rest(module: Callable, X: Tensor) -> Callable[[Tensor], Any]:
    zeros = torch.zeros_like(X[:1])

    def rest(z: Tensor) -> Any:
        with _Interception(z):
            return module(zeros.expand(len(z), *zeros.shape[1:]))

    return rest


def _until_product(module: Callable, X: Tensor) -> _Interception:
    """What was seen of a run up to the first linear layer."""
    seen = _Interception()
    with seen:
        module(X)
    return seen


def _input_is_used_once(module: Callable, X: Tensor, z: Tensor) -> bool:
    """Nothing after the layer may be computed from the input, and other inputs must lead to the same output."""
    flow, outputs = _Flow(X, z), []
    runs = (
        (flow, X),
        (_Interception(z), torch.full_like(X, 3.7) - 2 * X),
        (_Interception(z), torch.randn_like(X) * 10),
    )
    for mode, x in runs:
        with mode:
            outputs.append(module(x))  # a look-up by the input's value fails
        if flow.looked_again:
            return False
    first = outputs[0]
    return isinstance(first, Tensor) and all(torch.equal(first, o) for o in outputs[1:])
