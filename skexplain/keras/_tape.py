"""What a Keras model computes on TensorFlow, as a `Tape` of the operations in its graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .._propagation import Kind, Step, Tape, Weights
from ..exceptions import UnsupportedLayerError

#: Operations whose result is their first input, or that pass each input on.
PASSING = set(
    "Identity IdentityN StopGradient PreventGradient Snapshot EnsureShape CheckNumerics CheckNumericsV2".split()
)
#: Operations whose result depends on their argument's shape only.
SHAPED_ALIKE = set("Shape ShapeN Size Rank ZerosLike OnesLike".split())
#: Operations that move numbers.
SHAPE = set(
    "Reshape Transpose Squeeze ExpandDims Pack Unpack ConcatV2 Concat Split SplitV StridedSlice Slice Tile Pad PadV2 "
    "MirrorPad BroadcastTo Reverse ReverseV2 Roll GatherV2 Gather GatherNd ScatterNd SpaceToBatchND BatchToSpaceND "
    "SpaceToDepth DepthToSpace ExtractImagePatches ExtractVolumePatches MatrixDiagPartV3 MatrixDiagV3 "
    "TensorScatterUpdate".split()
)
#: Operations that move numbers as told by indices, and the inputs that are these.
INDICES = {
    **{"GatherV2": (1, 2), "Gather": (1,), "ResourceGather": (1,), "GatherNd": (1,), "OneHot": (0,)},
    **{"ScatterNd": (0,), "TensorScatterUpdate": (1,)},
}
#: Operations that are linear in all their inputs that vary, whatever stands in the other places.
LINEAR = set(
    "AddV2 Add Sub AddN Neg BiasAdd Sum Mean Cumsum AvgPool AvgPool3D ResizeBilinear ResizeNearestNeighbor "
    "ResizeBicubic ResizeArea MatrixBandPart".split()
)
#: Operations that are linear in each of two inputs.
BILINEAR = set(
    "Mul MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Conv2D Conv3D DepthwiseConv2dNative "
    "Conv2DBackpropInput Conv3DBackpropInputV2 DepthwiseConv2dNativeBackpropInput".split()
)
#: Functions of one number.
ELEMENTWISE = set(
    "Relu Relu6 Elu Selu LeakyRelu Softplus Softsign Sigmoid Tanh Exp Expm1 Log Log1p Sqrt Rsqrt Square Reciprocal Inv "
    "Pow Abs Sin Cos Tan Asin Acos Atan Asinh Acosh Atanh Sinh Cosh Erf Erfc Erfinv Ndtri Lgamma Digamma Maximum "
    "Minimum ClipByValue Xlogy Xlog1py".split()
)
COMPARISONS = set("Less LessEqual Greater GreaterEqual Equal NotEqual".split())
#: Functions of one number that jump.
STEPS = COMPARISONS | set(
    "Sign Floor Ceil Round Rint FloorDiv FloorMod Mod Bucketize LogicalNot LogicalAnd LogicalOr IsNan IsInf "
    "IsFinite".split()
)
SELECT = {"Select", "SelectV2"}
DIVISION = {"RealDiv", "Div", "DivNoNan"}
#: Linear operations whose results depend on the numbers in the same place only.
POINTWISE = {"AddV2", "Add", "Sub", "AddN", "Mul", "Neg", "BiasAdd", "Cast"} | SELECT | DIVISION
SOFTMAX = {"Softmax", "LogSoftmax"}
#: What makes weights for what it is multiplied with.
GATES = {"Sigmoid", "Rsqrt", "Reciprocal", "Inv"}
ADDITION = {"AddV2", "Add"}
#: What decides, when it runs, which operations are done and how often.
CONTROL = set("While StatelessWhile If StatelessIf Case StatelessCase TensorListFromTensor TensorListSetItem".split())
#: Constants beyond this stand for minus infinity in a mask.
MASK = 1e6
#: What is selected in their place: smaller numbers would make differences that overflow.
LOWEST = -1e30
#: Where logits of a mask are cut off: so far down that none counts, so near that differences keep their digits.
CUT = -1e3
#: Moves of numbers that keep them in order.
ORDER_KEPT = {"Reshape", "Squeeze", "ExpandDims"}
#: Convolutions, and which input is convolved.
CONVOLUTIONS = {"Conv2D": 0, "Conv3D": 0, "DepthwiseConv2dNative": 0} | dict.fromkeys(
    ("Conv2DBackpropInput", "Conv3DBackpropInputV2", "DepthwiseConv2dNativeBackpropInput"), 2
)


class TensorArrays:
    """The functions that rules need, for tensors of a graph."""

    def __init__(self, dtype: tf.DType) -> None:
        self.eps = float(np.finfo(dtype.as_numpy_dtype).eps)

    @staticmethod
    def where(condition: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.where(condition, a, b)

    @staticmethod
    def unless(condition: tf.Tensor, value: tf.Tensor, otherwise: Callable[[Callable], tf.Tensor]) -> tf.Tensor:
        return tf.where(condition, value, otherwise(tf.identity))

    @staticmethod
    def zeros_like(a: tf.Tensor) -> tf.Tensor:
        return tf.zeros_like(a)

    @staticmethod
    def ones_like(a: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(a)

    @staticmethod
    def sum(a: tf.Tensor, axis: int) -> tf.Tensor:
        return tf.reduce_sum(a, axis, keepdims=True)

    @staticmethod
    def max(a: tf.Tensor, axis: int) -> tf.Tensor:
        return tf.reduce_max(a, axis, keepdims=True)

    @staticmethod
    def last_to_front(a: tf.Tensor) -> tf.Tensor:
        return tf.transpose(a, [len(a.shape) - 1, *range(len(a.shape) - 1)])

    @staticmethod
    def stack_last(arrays: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.stack(list(arrays), -1)

    @staticmethod
    def cast(a: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        return tf.cast(a, like.dtype)


def record(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, strategy: str) -> Tape:
    """Trace a function of rows into the graph of ``x`` and record its operations.

    Parameters
    ----------
    function : callable
    x : Tensor of shape (n, *features)
        Of a graph that is being traced; its shape is known.
    strategy : str
        Named in errors.

    Raises
    ------
    UnsupportedLayerError
        For an operation that there is no rule for.
    """
    recorder, out = _Recorder(x, strategy), function(x)
    return recorder.tape(out, recorder.follow(out))


class _Call:
    """An operation, some of whose inputs vary with the network's input."""

    def __init__(self, op: tf.Operation, position: dict[str, int], dtype: tf.DType) -> None:
        self.op, self.name, self.args, self.dtype = op, op.type, list(op.inputs), dtype
        self.varying = [k for k, v in enumerate(self.args) if v.name in position]
        self.inputs = tuple(position[self.args[k].name] for k in self.varying)

    def __call__(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The operation's results with other values in the places that vary."""
        args = list(self.args)
        for k, v in zip(self.varying, values, strict=True):
            args[k] = v
        return self.at(args)

    def at(self, args: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The operation's results for these inputs, in the network's number type, also where it had another one."""
        types = self._types(args)
        attributes = {name: v for name, v in self.op.node_def.attr.items() if not name.startswith("_")}
        attributes |= {name: tf.compat.v1.AttrValue(type=t.as_datatype_enum) for name, t in types.items()}
        args = [v if name == "" else tf.cast(v, types[name]) for v, name in zip(args, self._type_names(), strict=True)]
        return list(self.op.graph.create_op(self.name, args, attrs=attributes).outputs)

    def _types(self, args: Sequence[tf.Tensor]) -> dict[str, tf.DType]:
        """The number type that each of the operation's names for one stands for."""
        types: dict[str, tf.DType] = {}
        for v, name in zip(args, self._type_names(), strict=True):
            if name and (name not in types or v.dtype.is_floating):
                types[name] = self.dtype if v.dtype.is_floating else v.dtype
        return types

    def _type_names(self) -> list[str]:
        """For each input the operation's name for its number type; empty where that cannot be chosen."""
        names = []
        for arg in self.op.op_def.input_arg:
            count = self.op.get_attr(arg.number_attr) if arg.number_attr else 1
            count = len(self.op.get_attr(arg.type_list_attr)) if arg.type_list_attr else count
            names += [arg.type_attr] * count
        return names


class _Recorder:
    """Follows results back to the input, and records the operations on the way."""

    def __init__(self, x: tf.Tensor, strategy: str) -> None:
        self.strategy, self.dtype = strategy, x.dtype
        self.values: list[tf.Tensor] = [x]
        self.steps: list[Step] = []
        self.position = {x.name: 0}
        self.made: dict[int, Step] = {}
        self.seen: set[str] = {x.op.name}

    def refuse(self, what: str) -> UnsupportedLayerError:
        return UnsupportedLayerError(what, self.strategy)

    def tape(self, out: tf.Tensor, output: int) -> Tape:
        """The tape of what a tensor, at a position among the values, was computed from."""
        if output < 0:
            return Tape([self.values[0], out], [], 1)
        needed, steps = {output}, []
        for step in reversed(self.steps):
            if step.output in needed:
                needed.update(step.inputs)
                steps.append(step)
        return Tape(self.values, steps[::-1], output)

    def follow(self, result: tf.Tensor) -> int:
        """Record what a tensor was computed by; its position among the values, -1 for a constant."""
        for op in self._unseen(result.op):
            self._take(op)
        return self.position.get(result.name, -1)

    def _unseen(self, last: tf.Operation) -> Iterator[tf.Operation]:
        """Operations that one depends on and that have not been looked at, in order."""
        stack = [(last, False)]
        while stack:
            op, ready = stack.pop()
            if ready:
                yield op
            elif op.name not in self.seen:
                self.seen.add(op.name)
                stack.append((op, True))
                stack.extend((v.op, False) for v in reversed(op.inputs))

    def _take(self, op: tf.Operation) -> None:
        call = _Call(op, self.position, self.dtype)
        if not call.varying or call.name in SHAPED_ALIKE:
            return
        if call.name in PASSING:
            for k in call.varying:
                if k < len(op.outputs):
                    self.position[op.outputs[k].name] = self.position[call.args[k].name]
            return
        results = _spelled_otherwise(self, call)
        if results is NotImplemented:
            self._record(call)
            return
        for old, new in zip(op.outputs, results, strict=True):
            position = self.follow(new)
            if position >= 0:
                self.position[old.name] = position

    def _record(self, call: _Call) -> None:
        x = [self.values[i] for i in call.inputs]
        outputs = call.op.outputs
        if len(outputs) > 1 and call.name not in SHAPE:
            raise self.refuse(f"the operation {call.name!r}")
        for which, out in enumerate(outputs):
            if not out.shape.is_fully_defined():
                raise self.refuse(f"the operation {call.name!r}, whose result has another shape for other rows")
            if out.dtype in (tf.float16, tf.bfloat16):
                raise self.refuse(f"the operation {call.name!r} in {out.dtype.name}")
            step = self._step(call, out, which, x)
            self.steps.append(step)
            self.made[step.output] = step
            self.position[out.name] = step.output
            self.values.append(self.as_number(out))

    def as_number(self, v: Any) -> Any:
        """In the network's number type, if it is not a whole number."""
        return tf.cast(v, self.dtype) if tf.is_tensor(v) and v.dtype.is_floating else v

    def affine(self, call: _Call, out: tf.Tensor) -> tuple[Any, Any] | None:
        """Scale and shift of an operation on one input that is nothing else."""
        if len(call.inputs) != 1 or self.values[call.inputs[0]].shape != out.shape:
            return None
        affine = _affine(call, out)
        return None if affine is None else (self.as_number(affine[0]), self.as_number(affine[1]))

    def _step(self, call: _Call, out: tf.Tensor, which: int, x: Sequence[tf.Tensor]) -> Step:
        kind = self._kind(call, out, x)
        same_shape = all(v.shape == out.shape for v in x)
        affine = self.affine(call, out)
        weights = _weights(call) if kind == "linear" else None
        return Step(
            name=call.name,
            kind=kind,
            inputs=call.inputs,
            output=len(self.values),
            vjp=_vjp(self, call, kind, which, affine, weights),
            pointwise=same_shape and (kind in ("elementwise", "step") or call.name in POINTWISE),
            gate=call.name in GATES,
            affine=affine,
            condition=0 if call.name in SELECT and call.varying[0] == 0 else None,
            constants=sum(v.shape.rank != 0 for v in call.args) - len(x),
            unread=kind == "linear" and call.name in BILINEAR - {"Mul"} and weights is None,
            weights=weights,
        )

    def _kind(self, call: _Call, out: tf.Tensor, x: Sequence[tf.Tensor]) -> Kind:
        name, varying, one = call.name, call.varying, len(x) == 1
        if name in INDICES and any(k in INDICES[name] for k in varying):
            if one and _takes_rows(call, out, x[0]):
                return "lookup"
            raise self.refuse(f"the operation {name!r} by indices computed from the input")
        if name in SHAPE:
            return "shape"
        if name in SOFTMAX:
            return "softmax"
        if name == "Max":
            return "maximum"
        if name == "Cast":
            return "step" if x[0].dtype.is_floating and not out.dtype.is_floating else "linear"
        if name in SELECT:
            return "product" if 0 in varying else "linear"
        if name in LINEAR or (name in DIVISION and varying == [0]):
            return "linear"
        if name in BILINEAR:
            return "linear" if one else "product"
        if name in ELEMENTWISE and one:
            return "elementwise"
        if name in STEPS and one:
            return "step"
        raise self.refuse(f"the {'loop or branch' if name in CONTROL else 'operation'} {name!r}")


def _takes_rows(call: _Call, out: tf.Tensor, indices: tf.Tensor) -> bool:
    """Whether an operation puts a row of a constant table in the place of each index."""
    if call.name == "OneHot":
        return call.op.get_attr("axis") in (-1, out.shape.rank - 1)
    if call.name == "GatherNd":
        return bool(indices.shape[-1] == 1)
    axis = tf.get_static_value(call.args[2]) if call.name == "GatherV2" else 0
    return axis == 0 and not ("batch_dims" in call.op.node_def.attr and call.op.get_attr("batch_dims"))


def _vjp(
    at: _Recorder, call: _Call, kind: Kind, which: int, affine: tuple[Any, Any] | None, weights: Weights | None
) -> Any:
    """The transposed derivative of an operation; see `Step`."""
    if kind == "step" or call.name == "Cast":
        return lambda values, g: [g]
    if kind == "lookup":
        return lambda values, g: [tf.reduce_sum(tf.reshape(g, (*values[0].shape, -1)), -1)]
    if call.name in SELECT and kind == "product":
        return lambda values, g: _select_vjp(call, values, g)
    if affine is not None:
        return lambda values, g: [g * affine[0]]
    if call.name in PARTS:
        axis, start, rest = PARTS[call.name](call, which)
        return lambda values, g: [_padded(g, axis, start, rest, values[0])]
    if weights is not None and weights.kind == "dense":
        return lambda values, g: [weights.transpose(g, weights.weight, values[0])]

    def vjp(values: Sequence[tf.Tensor], g: tf.Tensor) -> Sequence[tf.Tensor]:
        leaves = [tf.identity(tf.cast(v, g.dtype)) for v in values]
        try:
            return [tf.convert_to_tensor(d) for d in _gradients(call(leaves)[which], leaves, g)]
        except LookupError:
            raise at.refuse(f"the operation {call.name!r}, which has no derivative") from None

    return vjp


def _gradients(y: tf.Tensor, x: Sequence[tf.Tensor], g: tf.Tensor) -> Sequence[tf.Tensor]:
    return tf.gradients(y, list(x), g, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _select_vjp(call: _Call, values: Sequence[tf.Tensor], g: tf.Tensor) -> list[tf.Tensor]:
    """Of ``c a + (1 - c) b``, in the places that vary; 0 where g is, whatever a and b are there."""
    places = dict(zip(call.varying, values, strict=True))
    c, a, b = (tf.cast(places.get(k, call.args[k]), g.dtype) for k in range(3))
    if call.name == "Select" and c.shape.rank == 1:
        c = tf.reshape(c, [-1] + [1] * (g.shape.rank - 1))
    parts = {0: g * tf.where(g != 0, a - b, tf.zeros_like(g)), 1: g * c, 2: g * (1 - c)}
    return [_summed_to(parts[k], v.shape) for k, v in places.items()]


def _summed_to(v: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Sums over what was broadcast."""
    full = [1] * (v.shape.rank - shape.rank) + list(shape)
    axes = [k for k, (a, b) in enumerate(zip(v.shape, full, strict=True)) if a != b]
    return tf.reshape(tf.reduce_sum(v, axes) if axes else v, shape)


def _part_of_unpack(call: _Call, which: int) -> tuple[int, int, bool]:
    return call.op.get_attr("axis"), which, True


def _part_of_split(call: _Call, which: int) -> tuple[int, int, bool]:
    axis = int(tf.get_static_value(call.args[0 if call.name == "Split" else 2]))
    return axis, sum(out.shape[axis] for out in call.op.outputs[:which]), False


#: Operations that give parts of a tensor: along which axis, from where on, and whether the axis is dropped.
PARTS = {"Unpack": _part_of_unpack, "Split": _part_of_split, "SplitV": _part_of_split}


def _padded(g: tf.Tensor, axis: int, start: int, dropped: bool, like: tf.Tensor) -> tf.Tensor:
    """The part of a tensor of the shape of ``like`` in its place, with zeros around."""
    g = tf.expand_dims(g, axis) if dropped else g
    axis %= like.shape.rank
    paddings = [[0, 0] for _ in like.shape]
    paddings[axis] = [start, like.shape[axis] - start - g.shape[axis]]
    return tf.pad(g, paddings)


def _affine(call: _Call, out: tf.Tensor) -> tuple[Any, Any] | None:
    name, k, args = call.name, call.varying[0], call.args
    if name == "Cast":
        return (1.0, 0.0) if out.dtype.is_floating and args[0].dtype.is_floating else None
    if name == "Neg":
        return -1.0, 0.0
    if name == "BiasAdd" and k == 0:
        last = call.op.get_attr("data_format") == b"NHWC"
        return 1.0, args[1] if last else tf.reshape(args[1], [-1] + [1] * (out.shape.rank - 2))
    if name in ("AddV2", "Add"):
        return 1.0, args[1 - k]
    if name == "Sub":
        return (1.0, -args[1]) if k == 0 else (-1.0, args[0])
    if name == "Mul":
        return args[1 - k], 0.0
    if name in ("RealDiv", "Div") and k == 0:
        return 1 / args[1], 0.0
    return None


def _weights(call: _Call) -> Weights | None:
    """Weights of dense layers and convolutions."""
    if call.name in MATRICES and call.varying == [0]:
        return _dense_weights(call)
    if call.name in CONVOLUTIONS and call.varying == [CONVOLUTIONS[call.name]]:
        return _convolution_weights(call)
    return None


#: Products of matrices, and what tells that a factor is transposed.
MATRICES = {"MatMul": "transpose_", "BatchMatMul": "adj_", "BatchMatMulV2": "adj_", "BatchMatMulV3": "adj_"}


def _dense_weights(call: _Call) -> Weights | None:
    flag, W = MATRICES[call.name], call.args[1]
    first, second = ("a", "b") if call.name == "MatMul" else ("x", "y")
    if call.op.get_attr(flag + first) or math.prod(W.shape[:-2]) != 1 or W.shape.rank > call.args[0].shape.rank:
        return None
    W = tf.cast(tf.reshape(W, W.shape[-2:]), call.dtype)
    W = tf.transpose(W) if call.op.get_attr(flag + second) else W
    return Weights("dense", W, None, tf.matmul, lambda g, w, like: tf.matmul(g, tf.transpose(w)), _scaled_dense)


def _convolution_weights(call: _Call) -> Weights:
    place = CONVOLUTIONS[call.name]

    def apply(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        args = list(call.args)
        args[place], args[1] = x, w
        return call.at(args)[0]

    def transpose(g: tf.Tensor, w: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        x = tf.identity(like)
        return _gradients(apply(x, w), [x], g)[0]

    def scaled(w: tf.Tensor, s: Any) -> tf.Tensor | None:
        if place != 0:
            return None
        outputs = w.shape[-1] if call.name != "DepthwiseConv2dNative" else w.shape[-2] * w.shape[-1]
        first = call.op.get_attr("data_format") in (b"NCHW", b"NCDHW")
        factors = _per_channel(s, 1 - w.shape.rank if first else -1, outputs, w.dtype)
        if factors is None or factors.shape == (1,):
            return None if factors is None else w * factors
        return w * tf.reshape(factors, w.shape[-1:] if call.name != "DepthwiseConv2dNative" else w.shape[-2:])

    return Weights("convolution", tf.cast(call.args[1], call.dtype), None, apply, transpose, scaled)


def _scaled_dense(weight: tf.Tensor, s: Any) -> tf.Tensor | None:
    factors = _per_channel(s, -1, weight.shape[1], weight.dtype)
    return None if factors is None else weight * factors


def _per_channel(s: Any, axis: int, channels: int, dtype: tf.DType) -> tf.Tensor | None:
    """One factor for each channel, the axis counted from the end; None if s varies within a channel."""
    shape = np.shape(s) if isinstance(s, float) else tuple(s.shape)
    if math.prod(shape) == 1:
        return tf.reshape(tf.cast(s, dtype), [1])
    return (
        tf.reshape(tf.cast(s, dtype), [-1])
        if len(shape) >= -axis and math.prod(shape) == channels == shape[axis]
        else None
    )


# Operations that are made of others. Each takes the recorder and the call and gives the results, or NotImplemented
# where the operation is to be recorded as it is.


def _spelled_otherwise(at: _Recorder, call: _Call) -> Any:
    results = LOWERED[call.name](at, call) if call.name in LOWERED else NotImplemented
    if results is not NotImplemented or len(call.inputs) != 1:
        return results
    x, out = at.values[call.inputs[0]], call.op.outputs[0]
    if call.name in ELEMENTWISE | STEPS and x.shape != out.shape:
        return call([tf.broadcast_to(x, out.shape)])
    affine = at.affine(call, out)
    return NotImplemented if affine is None else _beside_weights(at, call.inputs[0], out, *affine)


def _beside_weights(at: _Recorder, position: int, out: tf.Tensor, scale: Any, shift: Any) -> Any:
    """A scale and a shift, next to the weights that they belong to.

    Keras gives the outputs of weights another shape first, or, as in an LSTM, sums those of two.
    """
    source = position
    while (step := at.made.get(source)) is not None and step.name in ORDER_KEPT:
        source = step.inputs[0]
    if source != position and _reads_weights(at, source):
        y = at.values[source]
        scale, shift = (_for_shape(v, out.shape, y.shape) for v in (scale, shift))
        return NotImplemented if scale is None or shift is None else [tf.reshape(_moved(y, scale, shift), out.shape)]
    step = at.made.get(position)
    if step is not None and step.name in ADDITION and step.pointwise and isinstance(scale, float) and scale == 1:
        parts = [at.values[i] for i in step.inputs]
        for k, i in enumerate(step.inputs):
            if _reads_weights(at, i):
                parts[k] = parts[k] + shift
                return [tf.add_n(parts)]
    return NotImplemented


def _reads_weights(at: _Recorder, position: int) -> bool:
    """Whether a value comes from weights, maybe scaled and shifted."""
    step = at.made.get(position)
    while step is not None and step.affine is not None:
        step = at.made.get(step.inputs[0])
    return step is not None and step.weights is not None


def _moved(y: tf.Tensor, scale: Any, shift: Any) -> tf.Tensor:
    y = y if isinstance(scale, float) and scale == 1 else y * scale
    return y if isinstance(shift, float) and shift == 0 else y + shift


def _for_shape(v: Any, shape: tf.TensorShape, other: tf.TensorShape) -> Any:
    """What broadcasts with one shape as it is to broadcast with the numbers in another shape; None if it cannot be."""
    if isinstance(v, float):
        return v
    own = list(itertools.dropwhile(lambda n: n == 1, v.shape))
    full = list(shape)[len(shape) - len(own) :]
    for k in range(len(other) + 1):
        if math.prod(other[len(other) - k :]) == math.prod(full):
            return tf.reshape(tf.broadcast_to(tf.reshape(v, own), full), other[len(other) - k :])
    return None


def _inlined(at: _Recorder, call: _Call) -> list[tf.Tensor]:
    """The operations of a function in the place of its call."""
    graph = call.op.graph
    body = graph._get_function(call.op.get_attr("f").name).graph  # not public; the only way to a function by its name
    with graph.as_default():
        return tf.graph_util.import_graph_def(
            body.as_graph_def(),
            input_map={inner.name: outer for inner, outer in zip(body.inputs, call.args, strict=True)},
            return_elements=[v.name for v in body.outputs],
            name="inlined",
        )


def _sum(at: _Recorder, call: _Call) -> Any:
    """Of a sum ``a s + b s + c`` with a gate s: ``(a + b) s + c``, as the same normalisation is written elsewhere.

    So relevance is that of the centred numbers, whatever the constant c is.
    """
    if len(call.varying) != 2:
        return NotImplemented
    left, right = (_term(at, v) for v in call.args)
    if left is None or right is None:
        return NotImplemented
    minus = -1.0 if call.name == "Sub" else 1.0
    for a, gate in zip(reversed(left.factors), left.factors, strict=True):
        b, (s, scale) = right.other(gate), _gate(at, gate)
        if b is None or s is None:
            continue
        y = (left.sign * a + minus * right.sign * b) * s
        y = y if scale is None else y * scale
        for constant, sign in ((left.constant, 1.0), (right.constant, minus)):
            y = y if constant is None else y + sign * constant
        return [y] if y.shape == call.op.outputs[0].shape else NotImplemented
    return NotImplemented


@dataclass(frozen=True, eq=False)
class _Term:
    """``sign * p * q + constant``."""

    factors: list[tf.Tensor]
    sign: float = 1.0
    constant: tf.Tensor | None = None

    def other(self, factor: tf.Tensor) -> tf.Tensor | None:
        """What a factor is multiplied with; None if it is neither of the two."""
        names = [v.name for v in self.factors]
        return self.factors[1 - names.index(factor.name)] if factor.name in names else None


def _term(at: _Recorder, v: tf.Tensor) -> _Term | None:
    """A product of two that vary, maybe with a constant added."""
    args = list(v.op.inputs)
    varying = [k for k, arg in enumerate(args) if arg.name in at.position]
    if v.op.type == "Mul" and len(varying) == 2:
        return _Term(args)
    if v.op.type not in (*ADDITION, "Sub") or len(varying) != 1:
        return None
    (k,) = varying
    inner, sign = _term(at, args[k]), -1.0 if v.op.type == "Sub" else 1.0
    if inner is None or inner.constant is not None:
        return None
    return _Term(inner.factors, sign if k else 1.0, args[1 - k] if k else sign * args[1 - k])


def _gate(at: _Recorder, v: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor | None]:
    """A gate, and what it is scaled with; None for what is none."""
    if v.op.type in GATES:
        return v, None
    if v.op.type == "Mul":
        p, q = v.op.inputs
        for gate, scale in ((p, q), (q, p)):
            if gate.op.type in GATES and scale.name not in at.position:
                return gate, scale
    return None, None


def _division(at: _Recorder, call: _Call) -> Any:
    a, b = call.args
    return [a * tf.math.reciprocal(b)] if 1 in call.varying and call.name != "DivNoNan" else NotImplemented


def _squared_difference(at: _Recorder, call: _Call) -> list[tf.Tensor]:
    a, b = call.args
    return [tf.square(a - b)]


def _comparison(at: _Recorder, call: _Call) -> Any:
    a, b = call.args
    return call.at([a - b, tf.zeros_like(b)]) if len(call.varying) == 2 and a.dtype != tf.bool else NotImplemented


def _maximum(at: _Recorder, call: _Call) -> Any:
    return [_larger(*call.args)] if len(call.varying) == 2 else NotImplemented


def _minimum(at: _Recorder, call: _Call) -> Any:
    a, b = call.args
    return [-_larger(-a, -b)] if len(call.varying) == 2 else NotImplemented


def _larger(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    shape = tf.broadcast_static_shape(a.shape, b.shape)
    return tf.reduce_max(tf.stack([tf.broadcast_to(a, shape), tf.broadcast_to(b, shape)], -1), -1)


def _max(at: _Recorder, call: _Call) -> Any:
    """Over the last axis, which is not kept."""
    (x, axes), keep = call.args, call.op.get_attr("keep_dims")
    rank, known = x.shape.rank, tf.get_static_value(axes)
    if known is None or not x.shape.is_fully_defined():
        raise at.refuse("a maximum over what is only known when it runs")
    dims = sorted({int(d) % rank for d in np.ravel(known)})
    if not dims:
        return [tf.identity(x)]
    if dims == [rank - 1] and not keep:
        return NotImplemented
    rest = [d for d in range(rank) if d not in dims]
    last = tf.reshape(tf.transpose(x, rest + dims), [*(x.shape[d] for d in rest), -1])
    return [tf.reshape(tf.reduce_max(last, -1), call.op.outputs[0].shape)]


def _min(at: _Recorder, call: _Call) -> list[tf.Tensor]:
    x, axes = call.args
    return [-tf.reduce_max(-x, axes, call.op.get_attr("keep_dims"))]


def _max_pool(at: _Recorder, call: _Call) -> list[tf.Tensor]:
    """What stands in the same place of each window side by side, and the maximum over it."""
    (x,), op = call.args, call.op
    first = op.get_attr("data_format") in (b"NCHW", b"NCDHW")
    size, stride, padding = op.get_attr("ksize"), op.get_attr("strides"), op.get_attr("padding")
    spatial = range(2, x.shape.rank) if first else range(1, x.shape.rank - 1)
    if padding == b"EXPLICIT" or any(size[k] != 1 for k in range(x.shape.rank) if k not in spatial):
        raise at.refuse(f"the operation {call.name!r} with padding of its own or over channels")
    counts = call.op.outputs[0].shape
    margins = [[0, 0] for _ in x.shape]
    for k in spatial:
        beyond = max(0, (counts[k] - 1) * stride[k] + size[k] - x.shape[k]) if padding == b"SAME" else 0
        margins[k] = [beyond // 2, beyond - beyond // 2]
    if np.any(margins):
        x = tf.pad(x, margins, constant_values=x.dtype.min / 4)
    windows = []
    for place in itertools.product(*(range(size[k]) for k in spatial)):
        cut = [slice(None)] * x.shape.rank
        for k, start in zip(spatial, place, strict=True):
            cut[k] = slice(start, start + (counts[k] - 1) * stride[k] + 1, stride[k])
        windows.append(x[tuple(cut)])
    return [tf.reduce_max(tf.stack(windows, -1), -1)]


def _select(at: _Recorder, call: _Call) -> Any:
    """No constant that is selected is smaller than `LOWEST`."""
    known = [k for k in (1, 2) if k not in call.varying and call.args[k].dtype.is_floating]
    low = [k for k in known if (v := tf.get_static_value(call.args[k])) is not None and np.any(v < LOWEST)]
    args = [tf.maximum(v, tf.constant(LOWEST, v.dtype)) if k in low else v for k, v in enumerate(call.args)]
    return call.at(args) if low else NotImplemented


def _softmax(at: _Recorder, call: _Call) -> Any:
    """Of what a mask has made very small: of logits that are cut off, as no digits are left of others beside it."""
    (z,) = call.args
    if call.name != "Softmax" or not _is_masked(z):
        return NotImplemented
    return call.at([tf.maximum(z, tf.constant(CUT, z.dtype))])


def _is_masked(z: tf.Tensor, depth: int = 4) -> bool:
    """Whether very large constants are selected, or are added, maybe times 0 or 1, in one of the last operations."""
    if depth and z.op.type in PASSING | ORDER_KEPT | {"Cast"}:
        return _is_masked(z.op.inputs[0], depth - 1)
    if not depth or z.op.type not in SELECT | ADDITION | {"Sub"}:
        return False
    for v in z.op.inputs:
        for constant in v.op.inputs if v.op.type == "Mul" else [v]:
            value = tf.get_static_value(constant) if constant.dtype.is_floating else None
            if value is not None and np.any(np.abs(value) >= MASK):
                return True
    return any(_is_masked(v, depth - 1) for v in z.op.inputs)


def _any(at: _Recorder, call: _Call) -> list[tf.Tensor]:
    x, axes = call.args
    return [tf.reduce_max(tf.cast(x, at.dtype), axes, call.op.get_attr("keep_dims")) > 0.5]


def _all(at: _Recorder, call: _Call) -> list[tf.Tensor]:
    x, axes = call.args
    return [-tf.reduce_max(-tf.cast(x, at.dtype), axes, call.op.get_attr("keep_dims")) > 0.5]


def _and(at: _Recorder, call: _Call) -> Any:
    a, b = (tf.cast(v, at.dtype) for v in call.args)
    return [a * b > 0.5] if len(call.varying) == 2 else NotImplemented


def _or(at: _Recorder, call: _Call) -> Any:
    a, b = (tf.cast(v, at.dtype) for v in call.args)
    return [a + b > 0.5] if len(call.varying) == 2 else NotImplemented


LOWERED: dict[str, Callable[[_Recorder, _Call], Any]] = {
    "PartitionedCall": _inlined,
    "StatefulPartitionedCall": _inlined,
    **dict.fromkeys(DIVISION, _division),
    **dict.fromkeys(("AddV2", "Add", "Sub"), _sum),
    "SquaredDifference": _squared_difference,
    **dict.fromkeys(COMPARISONS, _comparison),
    "Maximum": _maximum,
    "Minimum": _minimum,
    "Max": _max,
    "Min": _min,
    **dict.fromkeys(SELECT, _select),
    "Softmax": _softmax,
    "MaxPool": _max_pool,
    "MaxPool3D": _max_pool,
    "Any": _any,
    "All": _all,
    "LogicalAnd": _and,
    "LogicalOr": _or,
}
