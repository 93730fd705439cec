"""Outputs that are probabilities although their activation is not the last layer: what stands behind the weights?"""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from ._activation import SQUASHING, activation_name, call
from ._default import every_layer

#: What the operations after a model's last weights say of its outputs: they are a sigmoid's, they have gone through
#: something that keeps them in bounds, or neither.
Trace = Literal["sigmoid", "bounded", "free"]

#: Parts of the names of operations, of TensorFlow and of torch's gradients.
BOUNDING = ("sigmoid", "softmax", "exp", "erf", "minimum", "clipbyvalue", "clamp", "relu6", "hardtanh")
WEIGHING = ("matmul", "mm", "conv", "einsum", "dot")
RESHAPING = ("identity", "expanddims", "reshape", "squeeze", "view", "alias", "cast", "tocopy")
NOT_BOUNDING = ("logsoftmax", "logsigmoid", "expand", "expm1")


def far_rows(X: NDArray) -> NDArray:
    """The rows, and the rows moved away from their mean by a factor of 3 to either side."""
    X64 = X.astype(np.float64)
    center = X64.mean(axis=0) if len(X) > 1 else 0.0
    moved = [center + factor * (X64 - center) for factor in (3.0, -3.0)]
    return np.concatenate([X, *(rows.astype(X.dtype) for rows in moved)])


def can_be_moved(model: Any) -> bool:
    """Whether the model reads numbers; codes of an embedding cannot be moved."""
    return not any(isinstance(layer, keras.layers.Embedding) for layer in every_layer(model))


def behind_the_weights(model: Any, X: NDArray) -> Trace:
    """What the outputs have gone through since the last product with weights, however the model is written."""
    rows = keras.ops.convert_to_tensor(np.asarray(X, dtype=model.compute_dtype))
    if keras.backend.backend() == "torch":
        start, before = _torch_graph(model, rows)
    elif keras.backend.backend() == "tensorflow":
        start, before = _tensorflow_graph(model, rows)
    else:  # no graph is looked at: that it occurs at all must do
        parts = [*every_layer(model), *getattr(model, "operations", ())]
        return "bounded" if any(activation_name(part) in SQUASHING for part in parts) else "free"
    queue, only_reshaped = list(start), True
    seen: list[Any] = []
    while queue:
        operation, name = queue.pop()
        if any(operation is other for other in seen):
            continue
        seen.append(operation)
        if only_reshaped and name.startswith("sigmoid"):
            return "sigmoid"
        if any(part in name for part in BOUNDING) and not name.startswith(NOT_BOUNDING):
            return "bounded"
        if any(part in name for part in WEIGHING):
            continue
        reshapes = any(part in name for part in RESHAPING)
        only_reshaped = only_reshaped and reshapes
        queue += before(operation)[: 1 if reshapes else None]  # what follows are shapes
    return "free"


def _torch_graph(model: Any, rows: Any) -> tuple[Any, Any]:
    """Nodes of the graph that torch keeps for gradients."""
    import torch

    def named(nodes: Any) -> list[tuple[Any, str]]:
        return [(node, node.name().lower()) for node in nodes if node is not None]

    with torch.enable_grad():
        out = call(model, rows.requires_grad_())
    return named([out.grad_fn]), lambda node: named(n for n, _ in node.next_functions)


def _tensorflow_graph(model: Any, rows: Any) -> tuple[Any, Any]:
    """Operations of a graph of the model."""
    import tensorflow as tf

    graph = tf.function(lambda x: call(model, x), autograph=False)
    traced = graph.get_concrete_function(tf.TensorSpec([None, *rows.shape[1:]], rows.dtype))

    def named(tensors: Any) -> list[tuple[Any, str]]:
        return [(tensor.op, tensor.op.type.lower()) for tensor in tensors]

    return named(traced.outputs), lambda operation: named(operation.inputs)
