"""Head: from a network's raw outputs to the outputs that are explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

Kind = Literal["linear", "softmax", "sigmoid"]
Output = Literal["margin", "logit", "probability"]
OUTPUTS = ("margin", "logit", "probability")


@dataclass(frozen=True)
class Head:
    """What stands after a network's raw outputs z, and on which scale they are explained.

    Every head is ``squash(z @ matrix)``; frameworks need to know no more than these two.

    Parameters
    ----------
    kind : {"linear", "softmax", "sigmoid"}
        "linear" for regression; z are then predictions. Otherwise z are the logits that stand before
        that activation.
    n_raw : int
        Number of raw outputs. A sigmoid head with one unit has two outputs, class 0 and class 1;
        with more units each is an output of its own.
    output : {"margin", "logit", "probability"}, default="margin"
        The scale. ``margin_k = z_k - mean of the other classes' z``; for one sigmoid unit
        ``(-z, z)``. It does not saturate, ignores a constant added to all logits, and makes
        a sigmoid unit and the softmax pair with the same probabilities agree.
    """

    kind: Kind
    n_raw: int
    output: Output = "margin"

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise ValueError(f"Unknown output {self.output!r}; valid names are {list(OUTPUTS)}.")

    @property
    def one_unit(self) -> bool:
        """Whether one sigmoid unit stands for two classes."""
        return self.kind == "sigmoid" and self.n_raw == 1

    @property
    def n_outputs(self) -> int:
        return 2 if self.one_unit else self.n_raw

    @property
    def matrix(self) -> NDArray:
        """``(n_raw, n_outputs)``: the linear part."""
        if self.one_unit:
            return np.array([[-1.0, 1.0]])
        k = self.n_raw
        if self.kind == "softmax" and self.output == "margin" and k > 1:
            return (k * np.eye(k) - 1.0) / (k - 1)
        return np.eye(k)

    @property
    def squash(self) -> Literal["softmax", "sigmoid"] | None:
        """The activation after the linear part, only on the probability scale."""
        return self.kind if self.output == "probability" and self.kind != "linear" else None  # type: ignore[return-value]

    @property
    def slopes(self) -> NDArray:
        """For each explained output its weights on the raw outputs, or, where these are squashed, on the explained."""
        return self.matrix.T if self.squash is None else np.eye(self.n_outputs)

    def __call__(self, raw: NDArray) -> NDArray:
        """Raw outputs ``(n, n_raw)`` to explained outputs ``(n, n_outputs)``, in float64."""
        out = np.asarray(raw, dtype=np.float64) @ self.matrix
        return {None: lambda v: v, "softmax": lambda v: softmax(v, axis=-1), "sigmoid": expit}[self.squash](out)

    def log_probabilities(self, outputs: NDArray) -> NDArray:
        """Log-probabilities of the classes, from outputs on this head's scale."""
        if self.output == "probability":
            return np.log(np.clip(outputs, np.finfo(np.float64).tiny, None))
        if self.kind == "sigmoid":  # outputs are z, or (-z, z)
            return -np.logaddexp(0, -outputs)
        k = self.n_raw
        scale = (k - 1) / k if self.output == "margin" and k > 1 else 1.0
        return log_softmax(outputs * scale, axis=-1)


def is_distribution(p: NDArray, tolerance: float = 1e-4) -> bool:
    """Whether every row of ``p`` is a probability distribution over at least two classes."""
    return bool(
        p.ndim == 2 and p.shape[1] > 1 and np.all(p >= -tolerance) and np.all(np.abs(p.sum(axis=1) - 1) < tolerance)
    )


def decide_head(
    activation: str,
    n_raw: int,
    *,
    output: Output = "margin",
    y: NDArray | None = None,
    classes: NDArray | None = None,
    regression: bool = False,
) -> tuple[Head, NDArray | None]:
    """Head and class labels of a network, from its last activation and what is known of its target.

    Parameters
    ----------
    activation : {"softmax", "sigmoid", "linear"}
        What the network ends in.
    n_raw : int
        Number of units before it.
    output : str
        Scale to explain.
    y : ndarray or None
        Targets; their kind decides whether a linear head gives logits or predictions.
    classes : ndarray or None
        Labels in the order of the units; makes the network a classifier.
    regression : bool
        Whether the network is known to be a regressor.

    Raises
    ------
    ValueError
        When there are not as many labels as outputs.
    """
    classes = None if classes is None else np.asarray(classes)
    if activation == "linear":
        if regression or (classes is None and _continuous(y, n_raw)):
            return Head("linear", n_raw, output), None
        if n_raw == 1 and classes is None and y is None:
            return Head("linear", 1, output), None
        activation = "sigmoid" if n_raw == 1 else "softmax"
    elif regression or (
        classes is None and (activation == "sigmoid" or (y is not None and np.ndim(y) == 2)) and _continuous(y, n_raw)
    ):
        return Head("linear", n_raw, output), None
    head = Head(activation, n_raw, output)  # type: ignore[arg-type]
    if head.kind == "sigmoid" and n_raw > 1 and classes is None:
        return head, None
    if classes is None:
        labels = np.unique(y) if y is not None and np.ndim(y) == 1 else np.empty(0)
        classes = labels if len(labels) == head.n_outputs else np.arange(head.n_outputs)
    if len(classes) != head.n_outputs:
        raise ValueError(
            f"classes has {len(classes)} labels {classes.tolist()}, but the network has {head.n_outputs} outputs."
        )
    return head, classes


def _continuous(y: NDArray | None, n_raw: int) -> bool:
    """Whether y is the target of a regression with ``n_raw`` outputs, and not labels, one-hot or indicator rows."""
    if y is None:
        return False
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] > 1:
        return not (is_distribution(y.astype(np.float64)) or np.isin(y, (0, 1)).all())
    y = np.ravel(y)
    if y.dtype.kind == "f" and np.any(y != np.round(y)):
        return True
    return y.dtype.kind in "fiu" and n_raw == 1 and len(np.unique(y)) != 2
