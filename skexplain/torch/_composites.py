"""Operations that are made of others, as a tape records them.

Each function takes the recorder and the call, then the operation's own arguments, and gives NotImplemented where the
operation is to be recorded as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

#: As low as a masked logit needs to be: minus infinity has no difference from itself.
MASKED = -1e30
#: Lower than any logit that counts. Where one is lower all the same, the attributions do not add up, which is noticed.
DOWN = -1e3

if TYPE_CHECKING:
    from ._tape import Call, Recorder


def _layer_norm(at: Recorder, call: Call, x: Tensor, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    y = _normalised(x, tuple(range(-len(shape), 0)), eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), *_statistics(at, x)


def _normalised(x: Tensor, dims: Any, eps: float) -> Tensor:
    c = x - x.mean(dims, keepdim=True)
    return c * torch.rsqrt((c * c).mean(dims, keepdim=True) + eps)


def _statistics(at: Recorder, x: Tensor) -> list[Tensor]:
    return [at.unusable(x.new_zeros(0), "statistics of a normalisation") for _ in range(2)]


def _group_norm(
    at: Recorder, call: Call, x: Tensor, weight: Any, bias: Any, n: int, c: int, hw: int, groups: int, eps: float
) -> Any:
    y = _normalised(x.reshape(n, groups, -1), (-1,), eps).reshape(x.shape)
    return _per_channel_affine(y, weight, bias), *_statistics(at, x)


def _per_channel_affine(y: Tensor, weight: Any, bias: Any) -> Tensor:
    channels = (1, -1, *[1] * (y.ndim - 2))
    y = y if weight is None else y * weight.view(channels)
    return y if bias is None else y + bias.view(channels)


def _batch_norm(at: Recorder, call: Call, x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, *options: Any) -> Any:
    training, _, eps = options
    if not training:
        return NotImplemented
    if len(x) != 1:  # instance normalisation puts all rows into one
        raise at.refuse("batch normalisation by the statistics of the batch")
    y = _normalised(x, tuple(range(2, x.ndim)), eps)
    return _per_channel_affine(y, weight, bias), *_statistics(at, x)


def _rms_norm(at: Recorder, call: Call, x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * torch.rsqrt((x * x).mean(tuple(range(-len(shape), 0)), keepdim=True) + eps)
    return (y if weight is None else y * weight), _statistics(at, x)[0]


def _var(at: Recorder, call: Call, x: Tensor, dim: Any = None, **options: Any) -> Tensor:
    dims = tuple(range(x.ndim)) if dim is None else tuple(dim)
    n, correction = math.prod(x.shape[d] for d in dims), options.get("correction", 1)
    c = x - x.mean(dims, keepdim=True)
    return (c * c).sum(dims, keepdim=options.get("keepdim", False)) / (n - (1 if correction is None else correction))


def _std(at: Recorder, call: Call, x: Tensor, dim: Any = None, **options: Any) -> Tensor:
    return _var(at, call, x, dim, **options).sqrt()


def _var_mean(at: Recorder, call: Call, x: Tensor, dim: Any = None, **options: Any) -> Any:
    dims = tuple(range(x.ndim)) if dim is None else tuple(dim)
    return _var(at, call, x, dim, **options), x.mean(dims, keepdim=options.get("keepdim", False))


def _norm(at: Recorder, call: Call, x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False) -> Any:
    if ord != 2:
        return NotImplemented
    dims = tuple(range(x.ndim)) if dim is None else tuple(dim)
    return (x * x).sum(dims, keepdim=keepdim).sqrt()


def _div(at: Recorder, call: Call, a: Any, b: Any, **options: Any) -> Any:
    if options or 1 not in call.varying:
        return NotImplemented
    return a * torch.reciprocal(b)


def _bmm(at: Recorder, call: Call, a: Tensor, b: Tensor) -> Any:
    """Of one matrix: what einsum makes of a dense layer."""
    if len(a) != 1 or len(call.varying) == 2:
        return NotImplemented
    return (a[0] @ b[0] if call.varying == [0] else (b[0].T @ a[0].T).T)[None]


def _permute(at: Recorder, call: Call, x: Tensor, dims: Any) -> Any:
    """A change of shape, where only axes of length 1 are moved."""
    kept = [d % x.ndim for d in dims if x.shape[d] != 1]
    return x.reshape([x.shape[d] for d in dims]) if kept == sorted(kept) else NotImplemented


def _compare(at: Recorder, call: Call, a: Any, b: Any) -> Any:
    return call.func(a - b, torch.zeros_like(b)) if len(call.varying) == 2 else NotImplemented


def _masked_fill(at: Recorder, call: Call, x: Tensor, mask: Tensor, value: Any) -> Any:
    if 1 in call.varying:
        return torch.where(mask, torch.as_tensor(value, dtype=x.dtype, device=x.device), x)
    if not isinstance(value, Tensor) and value < MASKED:
        return x.masked_fill(mask, MASKED)
    return NotImplemented


def _addcmul(at: Recorder, call: Call, x: Tensor, a: Tensor, b: Tensor, value: float = 1) -> Tensor:
    return x + value * a * b


def _addcdiv(at: Recorder, call: Call, x: Tensor, a: Tensor, b: Tensor, value: float = 1) -> Tensor:
    return x + value * a / b


def _lerp(at: Recorder, call: Call, a: Tensor, b: Tensor, weight: Any) -> Tensor:
    return a + weight * (b - a)


def _glu(at: Recorder, call: Call, x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def _softmax(at: Recorder, call: Call, x: Tensor, dim: int, *others: Any, **options: Any) -> Any:
    """Over the last axis; logits that a mask has sent far down no farther than where they do not count."""
    if id(x) in at.masked:
        return call.func(x.clamp(min=DOWN), dim, *others, **options)
    if dim in (-1, x.ndim - 1):
        return NotImplemented
    return call.func(x.movedim(dim, -1), -1, *others, **options).movedim(-1, dim)


def _logsumexp(at: Recorder, call: Call, x: Tensor, dim: Any, keepdim: bool = False) -> Any:
    """Over the last axis, which is kept."""
    dims = sorted(d % x.ndim for d in dim)
    if dims == [x.ndim - 1] and keepdim:
        return NotImplemented
    rest = [d for d in range(x.ndim) if d not in dims]
    moved = x.permute(*rest, *dims).reshape(*[x.shape[d] for d in rest], -1)
    out = torch.logsumexp(moved, -1, keepdim=True).squeeze(-1)
    return out.reshape([1 if d in dims else x.shape[d] for d in range(x.ndim)]) if keepdim else out


def _logaddexp(at: Recorder, call: Call, a: Tensor, b: Tensor) -> Any:
    return torch.logsumexp(torch.stack(torch.broadcast_tensors(a, b), -1), -1)


def _and(at: Recorder, call: Call, a: Any, b: Any) -> Any:
    """Of two truths that vary, their product."""
    if len(call.varying) != 2 or a.dtype != torch.bool:
        return NotImplemented
    dtype = at.values[0].dtype
    return a.to(dtype) * b.to(dtype) != 0


def _or(at: Recorder, call: Call, a: Any, b: Any) -> Any:
    if len(call.varying) != 2 or a.dtype != torch.bool:
        return NotImplemented
    dtype = at.values[0].dtype
    return a.to(dtype) + b.to(dtype) != 0


def _any(at: Recorder, call: Call, x: Tensor, dim: Any = (), keepdim: bool = False) -> Any:
    """The largest of numbers that are 0 or 1."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    return torch.amax((x != 0).to(at.values[0].dtype), dims, keepdim) != 0


def _all(at: Recorder, call: Call, x: Tensor, dim: Any = (), keepdim: bool = False) -> Any:
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    return torch.amin((x != 0).to(at.values[0].dtype), dims, keepdim) != 0


def _where(at: Recorder, call: Call, condition: Tensor, a: Any, b: Any) -> Any:
    """With masks that are finite, so that differences are."""
    masks = [id(v) not in at.position and v.is_floating_point() and bool((v < MASKED).any()) for v in (a, b)]
    if not any(masks):
        return NotImplemented
    return torch.where(condition, *(v.clamp(min=MASKED) if mask else v for v, mask in zip((a, b), masks, strict=True)))


def _amax(at: Recorder, call: Call, x: Tensor, dim: Any = (), keepdim: bool = False) -> Any:
    """Over the last axis, which is not kept."""
    dims = sorted(d % x.ndim for d in dim) if len(dim) else list(range(x.ndim))
    if dims == [x.ndim - 1] and not keepdim:
        return NotImplemented
    rest = [d for d in range(x.ndim) if d not in dims]
    top = torch.amax(x.permute(*rest, *dims).reshape(*[x.shape[d] for d in rest], -1), -1)
    return top.reshape([1 if d in dims else x.shape[d] for d in range(x.ndim)]) if keepdim else top


def _amin(at: Recorder, call: Call, x: Tensor, dim: Any = (), keepdim: bool = False) -> Any:
    return -torch.amax(-x, tuple(dim), keepdim)


def _max(at: Recorder, call: Call, x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, Tensor):
        return _maximum(at, call, x, dim)
    if dim is None:
        return torch.amax(x, tuple(range(x.ndim)))
    return _with_place(at, torch.amax(x, (dim,), keepdim))


def _with_place(at: Recorder, top: Tensor) -> tuple[Tensor, Tensor]:
    """A maximum, and the index of its place, which nothing may be computed from."""
    return top, at.unusable(torch.zeros(top.shape, dtype=torch.long, device=top.device), "the place of a maximum")


def _min(at: Recorder, call: Call, x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, Tensor):
        return _minimum(at, call, x, dim)
    result = _max(at, call, -x, dim, keepdim)
    return (-result[0], result[1]) if isinstance(result, tuple) else -result


def _maximum(at: Recorder, call: Call, a: Tensor, b: Tensor) -> Any:
    if len(call.varying) != 2:
        return NotImplemented
    return torch.amax(torch.stack(torch.broadcast_tensors(a, b), -1), -1)


def _minimum(at: Recorder, call: Call, a: Tensor, b: Tensor) -> Any:
    return NotImplemented if len(call.varying) != 2 else -_maximum(at, call, -a, -b)


def _max_pool(
    at: Recorder,
    call: Call,
    x: Tensor,
    size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Windows moved to a last axis, and the maximum over it."""
    d = x.ndim - 2
    size = _each(size, d)
    stride = _each(stride, d) if stride else size
    padding, dilation = _each(padding, d), _each(dilation, d)
    lowest = torch.finfo(x.dtype).min / 4
    for k in range(d):
        axis, reach = 2 + k, dilation[k] * (size[k] - 1) + 1
        length = x.shape[axis] + 2 * padding[k]
        n = -((reach - length) // stride[k]) + 1 if ceil_mode else (length - reach) // stride[k] + 1
        if ceil_mode and (n - 1) * stride[k] >= length - padding[k]:
            n -= 1  # a window must not start behind the input
        right = max(padding[k], (n - 1) * stride[k] + reach - length + padding[k])
        if padding[k] or right:
            behind = x.ndim - 1 - axis
            x = torch.constant_pad_nd(x, [0, 0] * behind + [padding[k], right], lowest)
        starts = torch.arange(n, device=x.device) * stride[k]
        index = starts[:, None] + dilation[k] * torch.arange(size[k], device=x.device)
        x = x.index_select(axis, index.reshape(-1)).unflatten(axis, index.shape).movedim(axis + 1, -1)
    top = torch.amax(x.flatten(-d), -1)
    return _with_place(at, top) if "indices" in call.name else top


def _each(v: Any, d: int) -> list[int]:
    v = [v] if isinstance(v, int) else list(v)
    return v * d if len(v) == 1 else v


def _adaptive_max_pool(at: Recorder, call: Call, x: Tensor, size: Any) -> Any:
    if any(s != 1 for s in size):
        return NotImplemented
    return _with_place(at, torch.amax(x, tuple(range(-len(size), 0)), True))


COMPOSITES: dict[str, Callable[..., Any]] = {
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "native_batch_norm": _batch_norm,
    "_fused_rms_norm": _rms_norm,
    "var": _var,
    "std": _std,
    "var_mean": _var_mean,
    "linalg_vector_norm": _norm,
    "norm": _norm,
    "div": _div,
    "bmm": _bmm,
    "permute": _permute,
    **dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne"), _compare),
    "masked_fill": _masked_fill,
    "where": _where,
    "any": _any,
    "all": _all,
    "logaddexp": _logaddexp,
    "logical_and": _and,
    "bitwise_and": _and,
    "logical_or": _or,
    "bitwise_or": _or,
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
    "lerp": _lerp,
    "glu": _glu,
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), _softmax),
    "logsumexp": _logsumexp,
    "amax": _amax,
    "amin": _amin,
    "max": _max,
    "min": _min,
    "maximum": _maximum,
    "minimum": _minimum,
    "max_pool1d": _max_pool,
    "max_pool2d_with_indices": _max_pool,
    "max_pool3d_with_indices": _max_pool,
    "adaptive_max_pool2d": _adaptive_max_pool,
    "adaptive_max_pool3d": _adaptive_max_pool,
}
