"""The attention weights that a module uses in a run."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .._attended import INSTEAD, by_heads, no_attention
from .._network import Attentions
from ..exceptions import UnsupportedModelError

SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax}
#: Products of two batches, and which argument stands left.
PRODUCTS = {
    **dict.fromkeys((torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__, torch.einsum), 0),
    **dict.fromkeys((torch.baddbmm, Tensor.baddbmm), 1),
}
MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


class Attended:
    """What was used in a run, in order.

    Attributes
    ----------
    changed : bool
        Whether weights were used that are no longer those of the softmax.
    """

    def __init__(self) -> None:
        self.changed = False
        self._used: list[tuple[Tensor, Tensor | GradientEdge]] = []

    def keep(self, weights: Tensor, at: GradientEdge | None = None) -> None:
        """Keep weights that the output is computed from, or whose values were made at a place in the graph."""
        self._used.append((weights, weights if at is None else at))

    def merged(self, n: int) -> bool:
        """Whether rows and heads share an axis, so that their order has to be seen."""
        return n > 1 and any(w.ndim == 3 and len(w) != n for w, _ in self._used)

    def of_rows(self, n: int, picked: Tensor | None) -> Attentions:
        """The weights of n rows, and the gradients of ``picked``, if that is given.

        Raises
        ------
        UnsupportedModelError
            When there are none, they do not belong to rows, or they were changed behind the softmax.
        """
        if self.changed:
            raise UnsupportedModelError(
                "An attention of the network changes its weights after the softmax, so that those of a query do not "
                f"sum to 1. {INSTEAD}"
            )
        if not self._used:
            raise no_attention()
        shapes = [by_heads(_unmerged(w.shape, n), n) for w, _ in self._used]
        weights = [_array(w, shape) for (w, _), shape in zip(self._used, shapes, strict=True)]
        if picked is None:
            return Attentions(weights, None)
        places: list[Any] = [at for _, at in self._used]
        found = torch.autograd.grad(picked, places, allow_unused=True) if picked.requires_grad else [None] * len(places)
        zero = picked.new_zeros(())
        gradients = [
            _array(zero.expand(shape) if g is None else g, shape) for g, shape in zip(found, shapes, strict=True)
        ]
        return Attentions(weights, gradients)


def _unmerged(shape: torch.Size, n: int) -> tuple[int, ...]:
    """Of three axes the first may be that of rows and their heads."""
    merged = len(shape) == 3 and shape[0] % n == 0
    return (n, shape[0] // n, *shape[1:]) if merged else tuple(shape)


def _array(values: Tensor, shape: tuple[int, ...]) -> Any:
    return values.detach().reshape(shape).double().cpu().numpy()


def differentiable(v: Tensor) -> Tensor:
    """The tensor, or where gradients are wanted and it has none, one that has."""
    wanted = torch.is_grad_enabled() and v.is_floating_point() and not v.requires_grad
    return v.detach().requires_grad_() if wanted else v


class _Attending(TorchFunctionMode):
    """Computes attention openly, whatever module it is called by, and keeps its weights.

    Fused kernels, also those that encoders have for evaluation, do not run in a mode. Attention that is written out is
    told by its two products: scores are a product of two batches, and what a softmax over their last axis makes of
    them multiplies a third from the left.
    """

    def __init__(self, attended: Attended) -> None:
        super().__init__()
        self.attended = attended
        self._scores: dict[int, Tensor] = {}  # kept alive, so that no other gets their name
        self._softmaxed: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._scaled_dot_product(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        weights = self._weights(func, args, kwargs) if func in PRODUCTS else None
        if weights is not None:
            # not refused at once: Python takes a TypeError in `@` for its own
            self.attended.changed |= not _are_shares(weights)
            open_ = differentiable(weights)
            self.attended.keep(open_)
            args, kwargs = tree_map_only(Tensor, lambda t: open_ if t is weights else t, (args, kwargs))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._follow(func, args, kwargs, result)
        return result

    def _scaled_dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """``softmax(q k^T scale + mask) v``; nothing is dropped out in evaluation."""
        if enable_gqa:
            key, value = (v.repeat_interleave(query.shape[-3] // v.shape[-3], -3) for v in (key, value))
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        nowhere = scores.isneginf().all(-1, keepdim=True)  # such a query gets nothing, and not NaN
        weights = scores.masked_fill(nowhere, 0).softmax(-1).masked_fill(nowhere, 0)
        weights = differentiable(weights)
        self.attended.keep(weights)
        return weights @ value

    def _multi_head(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Asked for the weights of each head, whatever was asked for."""
        given = MULTI_HEAD.bind(*args, **kwargs)
        given.apply_defaults()
        asked = dict(given.arguments)
        query = differentiable(asked["query"])
        given.arguments.update(query=query, need_weights=True, average_attn_weights=False)
        out: Tensor
        weights: Any  # never None, as they were asked for
        out, weights = F.multi_head_attention_forward(*given.args, **given.kwargs)
        # the output is computed from what the softmax gave, of which these weights are a view
        place = _edge_of_softmax(weights) if weights.requires_grad else None
        self.attended.keep(weights if weights.ndim == 4 else weights[None], place)
        if not asked["need_weights"]:
            return out, None
        return out, weights.mean(-3) if asked["average_attn_weights"] else weights

    def _weights(self, func: Any, args: Any, kwargs: Any) -> Tensor | None:
        """The factor of a product that weights its other factor, if there is one."""
        if func is torch.einsum:
            return self._weights_of_sum(*args)
        place = PRODUCTS[func]
        left = args[place] if place < len(args) else kwargs.get(("input", "batch1")[place])
        return left if id(left) in self._softmaxed else None

    def _weights_of_sum(self, equation: Any, *operands: Any) -> Tensor | None:
        if not isinstance(equation, str):
            return None
        inputs, _, output = equation.replace(" ", "").partition("->")
        for v, letters in zip(tree_leaves(operands), inputs.split(","), strict=True):
            if id(v) in self._softmaxed and letters[-1] not in output:
                return v
        return None

    def _follow(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> None:
        """Note what becomes of scores and weights: other numbers, or other axes in front of the keys."""
        given = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        if func in PRODUCTS:
            if len(given) > 1 and all(v.ndim > 2 for v in given[-2:]):
                self._scores[id(result)] = result
        elif func in SOFTMAX:
            axis = args[1] if len(args) > 1 else kwargs.get("dim")
            if id(given[0]) in self._scores and axis in (-1, result.ndim - 1):
                self._softmaxed[id(result)] = result
        else:
            for seen in (self._scores, self._softmaxed):
                if any(id(v) in seen and _same_keys(v, result) for v in given):
                    seen[id(result)] = result


def _same_keys(a: Tensor, b: Tensor) -> bool:
    return a.shape[-1:] == b.shape[-1:] and a.numel() == b.numel()


def _are_shares(weights: Tensor) -> bool:
    """Whether the weights of each query sum to 1, or to 0 where all is masked; not if they were changed, or turned."""
    total = weights.detach().sum(-1)
    return bool(((total - 1).abs().lt(1e-3) | total.abs().lt(1e-3)).all())


def _edge_of_softmax(weights: Tensor) -> GradientEdge:
    node: Any = weights.grad_fn
    while node.name() != "SoftmaxBackward0":
        (node, _), *_ = node.next_functions
    return GradientEdge(node, 0)


@contextmanager
def attending() -> Iterator[Attended]:
    """The attention that is used in the block."""
    attended = Attended()
    with _Attending(attended):
        yield attended
