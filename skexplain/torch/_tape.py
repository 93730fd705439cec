"""What a torch module computes, as a `Tape`: every spelling of an operation is the same to torch's dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from .._propagation import Kind, Step, Tape, Weights
from ..exceptions import UnsupportedLayerError
from ._composites import COMPOSITES

aten = torch.ops.aten

# Names of operations, without the suffixes of their copying and mutating forms.

#: Operations that move numbers.
SHAPE = set(
    "view _unsafe_view reshape t transpose permute expand squeeze unsqueeze select slice split split_with_sizes unbind "
    "unsafe_split unsafe_split_with_sizes cat stack clone alias detach lift_fresh flip roll repeat constant_pad_nd "
    "select_scatter slice_scatter copy im2col unfold diagonal as_strided pixel_shuffle pixel_unshuffle "
    "native_channel_shuffle channel_shuffle".split()
)
#: Operations that move numbers as told by indices, and the arguments (flattened) that are these.
INDEXING = {
    "gather": [2],
    "index_select": [2],
    "scatter": [2],
    "embedding": [1],
    "index": range(1, 99),
    "index_add": [2],
    "scatter_add": [2],
}
#: Operations that are linear in all their inputs that vary, whatever stands in the other places.
LINEAR = set(
    "sum mean neg cumsum avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
    "adaptive_avg_pool1d upsample_nearest1d upsample_nearest2d upsample_linear1d upsample_bilinear2d "
    "upsample_nearest3d upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa reflection_pad1d "
    "reflection_pad2d replication_pad1d "
    "replication_pad2d col2im tril triu masked_fill add sub rsub index_add scatter_add".split()
)
#: Operations that are linear in each of two inputs.
BILINEAR = set("mul mm bmm addmm baddbmm convolution dot mv".split())
#: Functions of one number.
ELEMENTWISE = set(
    "relu gelu silu sigmoid tanh elu leaky_relu softplus mish hardswish hardsigmoid hardtanh relu6 celu selu "
    "_prelu_kernel rrelu_with_noise log_sigmoid_forward exp exp2 expm1 log log1p log2 log10 sqrt rsqrt reciprocal "
    "square pow abs sin cos tan atan asin acos asinh acosh atanh sinh cosh erf erfc erfinv clamp clamp_min clamp_max "
    "threshold softshrink hardshrink logit xlogy special_xlog1py special_log_ndtr special_ndtr special_erfcx "
    "maximum minimum fmax fmin div sinc lgamma".split()
)
#: Functions of one number that jump.
STEPS = set(
    "gt lt ge le eq ne sign sgn round floor ceil trunc heaviside logical_not bitwise_not logical_and logical_or "
    "bitwise_and bitwise_or isnan isinf isfinite remainder fmod floor_divide".split()
)
#: Linear operations whose results depend on the numbers in the same place only.
POINTWISE = set("add sub rsub mul neg div where masked_fill".split())
BATCH_NORM = {"native_batch_norm": 7, "_native_batch_norm_legit_no_training": 6}  # where their eps stands
SOFTMAX = {"_softmax", "_safe_softmax", "_log_softmax", "logsumexp"}
#: Operations that may mask logits, and a number below which one has been masked.
MASKING, FAR_DOWN = {"add", "sub", "mul", "where", "masked_fill"}, -1e8
#: What makes weights for what it is multiplied with.
GATES = {"sigmoid", "hardsigmoid", "rsqrt", "reciprocal"}
#: Results that have the shape of their argument and nothing else of it.
SHAPED_ALIKE = set(
    "empty_like zeros_like ones_like full_like rand_like randn_like new_zeros new_ones new_empty new_full "
    "new_empty_strided".split()
)


KNOWN = (
    SHAPE | set(INDEXING) | LINEAR | BILINEAR | ELEMENTWISE | STEPS | set(BATCH_NORM) | SOFTMAX | {"where", "_to_copy"}
)


class TorchArrays:
    """The functions that rules need, for tensors."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.eps = torch.finfo(dtype).eps

    @staticmethod
    def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition, a, b)

    @staticmethod
    def unless(condition: Tensor, value: Tensor, otherwise: Callable[[Callable], Tensor]) -> Tensor:
        if not condition.all():
            places = (~condition).nonzero(as_tuple=True)
            value[places] = otherwise(lambda v: v.expand(condition.shape)[places]).to(value.dtype)
        return value

    @staticmethod
    def zeros_like(a: Tensor) -> Tensor:
        return torch.zeros_like(a)

    @staticmethod
    def ones_like(a: Tensor) -> Tensor:
        return torch.ones_like(a)

    @staticmethod
    def sum(a: Tensor, axis: int) -> Tensor:
        return a.sum(axis, keepdim=True)

    @staticmethod
    def max(a: Tensor, axis: int) -> Tensor:
        return a.amax(axis, keepdim=True)

    @staticmethod
    def last_to_front(a: Tensor) -> Tensor:
        return a.movedim(-1, 0).contiguous()

    @staticmethod
    def stack_last(arrays: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(arrays), -1)

    @staticmethod
    def cast(a: Tensor, like: Tensor) -> Tensor:
        return a.to(like.dtype)


def record(function: Callable[[Tensor], Tensor], x: Tensor, strategy: str) -> Tape:
    """Run a function of rows and record its operations.

    Parameters
    ----------
    function : callable
        A module in evaluation mode, or something around one.
    x : Tensor of shape (n, *features)
    strategy : str
        Named in errors.

    Raises
    ------
    UnsupportedLayerError
        For an operation that there is no rule for.
    """
    recorder = Recorder(x)
    with torch.no_grad(), _taken_apart(), recorder:
        try:
            with _NoEscape():
                # without mutations: a value on the tape stays what it was
                out = torch.func.functionalize(function, remove="mutations_and_views")(x)
        except _RefusedError as exc:
            raise UnsupportedLayerError(str(exc), strategy) from None
        except (RuntimeError, AttributeError, NotImplementedError) as exc:  # what torch cannot take apart
            raise UnsupportedLayerError(f"an operation that torch cannot take apart ({exc})", strategy) from exc
    tape = recorder.tape(out)
    if tape.output < 0 and len(out) > 1 and not torch.equal(out, out[:1].expand_as(out)):
        raise UnsupportedLayerError("an output that is computed where torch does not see it", strategy)
    return tape


@contextmanager
def _taken_apart() -> Iterator[None]:
    """Recurrent layers and attention in their single operations, not fused."""
    fast = torch.backends.mha.get_fastpath_enabled()
    onednn = torch._C._get_mkldnn_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch._C._set_mkldnn_enabled(False)
        with torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch._C._set_mkldnn_enabled(onednn)


def _is_far_down(constant: Any) -> bool:
    """Whether a constant is, or holds, a number by which logits are masked."""
    if isinstance(constant, Tensor):
        return constant.is_floating_point() and constant.numel() > 0 and bool(constant.min() < FAR_DOWN)
    return isinstance(constant, float) and constant < FAR_DOWN


class Call:
    """An operation with its arguments, some of which vary with the network's input."""

    def __init__(self, func: Any, args: Any, kwargs: Any, position: dict[int, int]) -> None:
        self.func, self.name = func, _name(func)
        self.flat, self.spec = tree_flatten((args, kwargs))
        self.varying = [k for k, v in enumerate(self.flat) if isinstance(v, Tensor) and id(v) in position]
        self.inputs = tuple(position[id(self.flat[k])] for k in self.varying)

    @property
    def args(self) -> list[Any]:
        return tree_unflatten(self.flat, self.spec)[0]

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments."""
        return tree_unflatten(self.flat, self.spec)[1]

    def __call__(self, values: Sequence[Tensor]) -> Any:
        """The operation with other values in the places that vary."""
        flat = list(self.flat)
        for k, v in zip(self.varying, values, strict=True):
            flat[k] = v
        args, kwargs = tree_unflatten(flat, self.spec)
        return self.func(*args, **kwargs)


def _functional(func: Any) -> Any:
    """The operation that does the same as one in place, without writing."""
    packet, wanted = getattr(aten, func.overloadpacket.__name__[:-1]), [a.name for a in func._schema.arguments]
    overloads = [
        getattr(packet, name) for name in (func._overloadname, *packet.overloads()) if name in packet.overloads()
    ]
    return next(f for f in overloads if [a.name for a in f._schema.arguments] == wanted)


def _name(func: Any) -> str:
    """The operation's name, the same for its copying and its mutating form."""
    name = func.overloadpacket.__name__
    name = name if name == "_to_copy" else name.removesuffix("_copy")
    return name.removesuffix("_")


class _RefusedError(BaseException):
    """A refusal on its way out.

    torch takes a TypeError in an operator for "try the other operand", and Keras puts a page of its own around every
    Exception in its layers.
    """


class _NoEscape(TorchFunctionMode):
    """Refuses values that leave torch, where nothing is recorded."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.numpy, Tensor.tolist, Tensor.__array__):
            raise _RefusedError("a value that leaves torch")
        return func(*args, **(kwargs or {}))


class Recorder(TorchDispatchMode):
    """Sees every operation below torch's autograd, where each has one name."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.values: list[Tensor] = [x]
        self.steps: list[Step] = []
        self.position = {id(x): 0}
        self.without_rule: dict[int, str] = {}  # results that nothing may be computed from
        self.masked: set[int] = set()  # logits some of which a mask has sent far down
        self.alive: list[Any] = [x]  # so that no id is used twice

    def tape(self, out: Tensor) -> Tape:
        """The tape of a run that returned ``out``."""
        return Tape(self.values, self.steps, self.position.get(id(out), -1))

    @staticmethod
    def refuse(what: str) -> _RefusedError:
        return _RefusedError(what)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(func, args, kwargs or {}, self.position)
        unusable = [self.without_rule[id(v)] for v in call.flat if isinstance(v, Tensor) and id(v) in self.without_rule]
        if unusable and call.name in SHAPE:
            return tree_map(lambda v: self.unusable(v, unusable[0]), func(*args, **(kwargs or {})))
        if unusable and not (call.name == "_local_scalar_dense" and unusable == ["aminmax"]):  # a check of its range
            raise self.refuse(f"what is computed from {unusable[0]}")
        if not call.varying or call.name in SHAPED_ALIKE:
            return func(*args, **(kwargs or {}))
        if func._schema.is_mutable:
            return self._in_place(func, args, kwargs or {})
        if call.name in COMPOSITES:
            with self:
                result = COMPOSITES[call.name](self, call, *args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        if call.name not in KNOWN:
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        out = func(*args, **(kwargs or {}))
        if call.name in ELEMENTWISE | STEPS and len(call.varying) == 1 and isinstance(out, Tensor):
            x = call.flat[call.varying[0]]
            if x.shape != out.shape:
                with self:
                    return call([x.expand(out.shape)])
        if call.name.startswith("unsafe_split"):
            out = [part.clone() for part in out]  # written to afterwards, while they share memory
        self._record(call, out)
        return out

    def _record(self, call: Call, out: Any) -> None:
        several = isinstance(out, list | tuple)
        for k, result in enumerate(tree_leaves(out)):
            if not isinstance(result, Tensor):
                raise self.refuse(f"a branch that depends on the values of the rows ({call.name.strip('_')})")
            if call.name == "aminmax":
                self.unusable(result, call.name)
            elif k and call.name not in SHAPE:
                self.unusable(result, f"indices or statistics of {call.name!r}")
            else:
                self._append(call, result, k if several else None)

    def unusable(self, result: Tensor, what: str) -> Tensor:
        """A result that comes with another one and that nothing may be computed from."""
        self.without_rule[id(result)] = what
        self.alive.append(result)
        return result

    def _append(self, call: Call, result: Tensor, which: int | None) -> None:
        self.steps.append(self._step(call, result, which))
        masks = call.name in MASKING and any(map(_is_far_down, call.flat))
        if masks or (call.name in MASKING | SHAPE and any(id(call.flat[k]) in self.masked for k in call.varying)):
            self.masked.add(id(result))
        self.position[id(result)] = len(self.values)
        self.values.append(result)
        self.alive.append(result)

    def _in_place(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation inside a fused one that writes to its argument, recorded as one that does not."""
        target, name = args[0], func.overloadpacket.__name__
        if not name.endswith("_"):
            raise self.refuse(f"the operation {name!r} that writes to an argument")
        functional = _functional(func)
        before = target.clone()
        if id(target) in self.position:
            self.values[self.position[id(target)]] = before
            call = Call(functional, args, kwargs, self.position)
        else:
            call = Call(functional, (before, *args[1:]), kwargs, self.position)
        out = func(*args, **kwargs)
        self._append(call, out, None)
        return out

    def _step(self, call: Call, out: Tensor, which: int | None) -> Step:
        """The step that an operation with this result is."""
        x = [self.values[i] for i in call.inputs]
        same_shape = all(v.shape == out.shape for v in x)
        kind = self._kind(call, out, x)
        affine = _affine(call, out) if same_shape and len(x) == 1 else None
        weights = _weights(call) if kind == "linear" else None
        return Step(
            name=call.name,
            kind=kind,
            inputs=call.inputs,
            output=len(self.values),
            vjp=_vjp(call, kind, which, affine, weights),
            pointwise=same_shape and (affine is not None or kind in ("elementwise", "step") or call.name in POINTWISE),
            gate=call.name in GATES,
            affine=affine,
            condition=0 if call.name == "where" and call.varying[0] == 0 else None,
            unread=call.name in BILINEAR - {"mul"} and len(call.varying) == 1 and weights is None,
            constants=sum(isinstance(v, Tensor) for v in call.flat) - len(x),
            weights=weights,
        )

    def _kind(self, call: Call, out: Tensor, x: Sequence[Tensor]) -> Kind:
        name, varying, one = call.name, call.varying, len(x) == 1
        if name in INDEXING and any(k in INDEXING[name] for k in varying):
            if _is_lookup(call, out, x):
                return "lookup"
            raise self.refuse(f"the operation {name!r} by indices computed from the input")
        if name in LINEAR:
            return "linear"
        if name in SHAPE or name in INDEXING:
            return "shape"
        if name in SOFTMAX and one:
            return "softmax"
        if name == "amax" and one:
            return "maximum"
        if name == "_to_copy":
            return "step" if x[0].is_floating_point() and not out.is_floating_point() else "linear"
        if name == "where":
            return "product" if 0 in varying else "linear"
        if name in BATCH_NORM and varying == [0]:
            return "linear"
        if name in BILINEAR:
            factors = (1, 2) if name in ("addmm", "baddbmm") else (0, 1)
            return "product" if sum(k in factors for k in varying) > 1 else "linear"
        if name == "div" and varying == [0] and not call.options:
            return "linear"
        if name in ELEMENTWISE and one:
            return "elementwise"
        if name in STEPS and one:
            return "step"
        raise self.refuse(f"the operation {name.strip('_')!r}")


def _is_lookup(call: Call, out: Tensor, x: Sequence[Tensor]) -> bool:
    """Whether an operation takes whole rows of a constant table, by numbers that come from the input."""
    if len(x) != 1:
        return False
    if call.name == "embedding":
        return True
    if call.name == "index":
        return len(call.flat) == 2
    # one-hot: a constant written at the number's place
    return (
        call.name == "scatter"
        and call.flat[1] in (-1, out.ndim - 1)
        and x[0].shape[-1] == 1
        and not isinstance(call.flat[3], Tensor)
    )


def _vjp(call: Call, kind: Kind, which: int | None, affine: tuple[Any, Any] | None, weights: Weights | None) -> Any:
    """The transposed derivative of an operation; see `Step`."""
    if kind == "step" or call.name == "_to_copy":
        return lambda values, g: [g]
    if affine is not None:
        return lambda values, g: [g * affine[0]]
    if kind == "lookup":
        return lambda values, g: [g.reshape(*values[0].shape, -1).sum(-1)]
    if call.name == "copy":
        return lambda values, g: _copy_vjp(call, values, g)
    if kind == "softmax":
        return lambda values, g: [_softmax_vjp(call, values, g)]
    if call.name == "where" and kind == "product":
        return lambda values, g: _where_vjp(call, values, g)
    if weights is not None:
        return lambda values, g: [weights.transpose(g, weights.weight, values[0])]

    def vjp(values: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
        with torch.enable_grad():
            leaves = [(v if v.is_floating_point() else v.to(g.dtype)).detach().requires_grad_() for v in values]
            result = call(leaves)
            result = result if which is None else result[which]
        if not result.requires_grad:
            return [torch.zeros_like(v) for v in leaves]
        grads = torch.autograd.grad(result, leaves, g.to(result.dtype), allow_unused=True)
        return [torch.zeros_like(v) if d is None else d for v, d in zip(leaves, grads, strict=True)]

    return vjp


def _copy_vjp(call: Call, values: Sequence[Tensor], g: Tensor) -> list[Tensor]:
    """What is written over counts for nothing."""
    return [
        torch.zeros_like(v) if k == 0 else g.sum_to_size(v.shape) for k, v in zip(call.varying, values, strict=True)
    ]


def _softmax_vjp(call: Call, values: Sequence[Tensor], g: Tensor) -> Tensor:
    y = call(values)
    if call.name == "_log_softmax":
        return g - y.exp() * g.sum(-1, keepdim=True)
    if call.name == "logsumexp":
        return g * values[0].softmax(-1)
    return y * (g - (g * y).sum(-1, keepdim=True))


def _where_vjp(call: Call, values: Sequence[Tensor], g: Tensor) -> list[Tensor]:
    """Of ``c a + (1 - c) b``, in the places that vary; 0 where g is, whatever a and b are there."""
    places = dict(zip(call.varying, values, strict=True))
    c, a, b = (torch.as_tensor(places.get(k, call.args[k])).to(g.dtype) for k in range(3))
    some = g != 0
    parts = {0: g * torch.where(some, a - b, 0.0), 1: g * c, 2: g * (1 - c)}
    return [parts[k].sum_to_size(v.shape) for k, v in places.items()]


def _affine(call: Call, out: Tensor) -> tuple[Any, Any] | None:
    """Scale and shift of an operation on one input that is nothing else."""
    name, k, args = call.name, call.varying[0], call.args
    if name in ("clone", "alias", "detach", "lift_fresh", "view", "_unsafe_view", "_to_copy"):
        rounds = call.flat[k].is_floating_point() and not out.is_floating_point()
        return None if rounds else (1.0, 0.0)
    if name == "neg":
        return -1.0, 0.0
    if name in ("add", "sub", "rsub"):
        alpha = call.options.get("alpha", 1)
        signs = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[name]
        return signs[k] * 1.0, signs[1 - k] * args[1 - k]
    if name == "mul":
        return args[1 - k], 0.0
    if name == "div" and k == 0 and not call.options:
        return 1 / args[1], 0.0
    if name in BATCH_NORM:
        gamma, beta, mean, variance = args[1:5]
        scale = torch.rsqrt(variance + args[BATCH_NORM[name]]) * (1.0 if gamma is None else gamma)
        shift = (0.0 if beta is None else beta) - mean * scale
        channels = (1, -1, *[1] * (out.ndim - 2))
        return scale.view(channels), shift.view(channels)
    return None


def _weights(call: Call) -> Weights | None:
    """Weights of dense layers and convolutions."""
    if call.name == "mm" and call.varying == [1]:  # columns are rows
        return Weights(
            "dense", call.args[0], None, lambda x, w: w @ x, lambda g, w, like: w.T @ g.to(w.dtype), _scaled_columns
        )
    if call.name in ("mm", "addmm"):
        first = 0 if call.name == "mm" else 1
        if call.varying != [first]:
            return None
        weight, bias = call.args[first + 1], call.args[0] if first else None
        if call.options:
            weight, bias = weight * call.options.get("alpha", 1), bias * call.options.get("beta", 1)
        return Weights("dense", weight, bias, torch.matmul, lambda g, w, like: g.to(w.dtype) @ w.T, _scaled_dense)
    if call.name == "convolution" and call.varying == [0]:
        _, weight, bias, *options = call.args

        def apply(x: Tensor, w: Tensor) -> Tensor:
            return aten.convolution(x, w, None, *options)

        def transpose(g: Tensor, w: Tensor, like: Tensor) -> Tensor:
            back = aten.convolution_backward
            return back(g.to(w.dtype), like.to(w.dtype), w, None, *options, [True, False, False])[0]

        bias = None if bias is None else bias.view(1, -1, *[1] * (weight.ndim - 2))
        transposed = options[3]
        return Weights("convolution", weight, bias, apply, transpose, _not_scaled if transposed else _scaled_filters)
    return None


def _scaled_dense(weight: Tensor, s: Any) -> Tensor | None:
    factors = _per_channel(s, -1, weight.shape[1])
    return None if factors is None else weight * factors


def _scaled_columns(weight: Tensor, s: Any) -> Tensor | None:
    factors = _per_channel(s, -2, weight.shape[0])
    return None if factors is None else weight * factors.reshape(-1, 1)


def _scaled_filters(weight: Tensor, s: Any) -> Tensor | None:
    factors = _per_channel(s, 1 - weight.ndim, weight.shape[0])
    return None if factors is None else weight * factors.view(-1, *[1] * (weight.ndim - 1))


def _not_scaled(weight: Tensor, s: Any) -> None:
    return None


def _per_channel(s: Any, axis: int, channels: int) -> Tensor | None:
    """One factor for each channel, the axis counted from the end; None if s varies within a channel."""
    s = torch.as_tensor(s)
    if s.numel() == 1:
        return s.reshape(1)
    return s.reshape(-1) if s.ndim >= -axis and s.numel() == channels == s.shape[axis] else None
