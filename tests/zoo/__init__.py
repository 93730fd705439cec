"""Small trained networks, one for each operation, each written in several ways with the same weights.

>>> zoo.torch_nets()["gelu"]["functional"]  # doctest: +SKIP
>>> zoo.keras_nets()["gelu"]["operations"]  # doctest: +SKIP

All read the same flat rows; column 0 is a code from 0 to 3. The first spelling of a network is the one that was
trained. What is written on Keras has the weights of the torch network of the same name.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Columns of a row.
D = 6
#: Each half of the zoo has a function of this name, with underscores.
NAMES = (
    *("linear", "relu", "gelu", "gelu tanh", "silu", "prelu", "leaky relu", "elu", "selu", "softplus", "tanh"),
    *("sigmoid", "exp", "layer norm", "batch norm first", "batch norm", "dropout", "embedding"),
    *("conv1d", "conv2d", "max pool1d", "max pool2d", "average pool", "lstm", "gru", "attention"),
    *("residual", "concatenation", "gate", "product", "square", "softmax", "one number"),
)
#: Networks that return one number a row, of shape (n,). All others return three logits.
REGRESSORS = ("one number",)


@cache
def training_data() -> tuple[NDArray, NDArray, NDArray]:
    """Rows ``(160, 6)``, classes, and a target of regression."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(160, D)).astype(np.float32)
    X[:, 0] = rng.integers(4, size=len(X))
    score = np.array([1.5, -1.0, 0.5, -2.0])[X[:, 0].astype(int)] + X[:, 1] * X[:, 2] - X[:, 3] + 0.5 * X[:, 4] ** 2
    return X, np.digitize(score, np.quantile(score, [1 / 3, 2 / 3])), score.astype(np.float32)


def rows() -> tuple[NDArray, NDArray]:
    """Rows to explain ``(12, 6)`` and a background ``(10, 6)``."""
    X = training_data()[0]
    return X[:12].copy(), X[100:110].copy()


def targets(name: str) -> NDArray:
    """True targets of the rows to explain."""
    return training_data()[2 if name in REGRESSORS else 1][:12]


def margins(raw: NDArray) -> NDArray:
    """Each logit minus the mean of the others, by hand; predictions as they are."""
    z = np.asarray(raw, dtype=np.float64).reshape(len(raw), -1)
    return z if z.shape[1] == 1 else z - (z.sum(axis=1, keepdims=True) - z) / (z.shape[1] - 1)


def torch_nets() -> dict[str, dict[str, Any]]:
    """``{name: {spelling: nn.Module}}``, in evaluation mode."""
    from .in_torch import nets

    return nets()


def keras_nets() -> dict[str, dict[str, Any]]:
    """``{name: {spelling: keras.Model}}``, on the back end of this process."""
    from .in_keras import nets

    return nets()
