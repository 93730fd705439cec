"""Which loss goes with which head, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._head import Head

#: What the common losses want: the module's last activation, in words.
WANTED = {
    nn.CrossEntropyLoss: ("linear", "log_softmax"),
    nn.BCEWithLogitsLoss: ("linear",),
    nn.BCELoss: ("sigmoid", "softmax"),
    nn.NLLLoss: ("softmax", "log_softmax"),
}
WORDS = {
    "linear": "logits (no activation)",
    "softmax": "probabilities (softmax)",
    "log_softmax": "log-probabilities (log_softmax)",
    "sigmoid": "probabilities (sigmoid)",
}


def plain(criterion: Any) -> Any:
    """The criterion itself, where torch.compile has wrapped it."""
    return getattr(criterion, "_orig_mod", criterion)


def auto_criterion(activation: str, n_raw: int | None) -> type[nn.Module]:
    """The classification loss for a module's last activation."""
    if activation == "linear":
        return nn.BCEWithLogitsLoss if n_raw == 1 else nn.CrossEntropyLoss
    return nn.BCELoss if activation == "sigmoid" else nn.NLLLoss


def assumed_activation(criterion: nn.Module) -> str:
    """What a module must end in for this loss, when it could not be observed."""
    return next((wanted[0] for kind, wanted in WANTED.items() if isinstance(criterion, kind)), "linear")


def check_classifier_head(criterion: nn.Module, activation: str, n_raw: int | None, n_classes: int | None) -> None:
    """Refuse a module whose outputs the loss would misread.

    Raises
    ------
    ValueError
        Naming what the module returns, what the loss expects, and what to change.
    """
    name = type(criterion).__name__
    if n_raw == 1 and activation in ("softmax", "log_softmax"):
        raise ValueError("A softmax over one unit is always 1; end the module in sigmoid, or return the logit.")
    for kind, wanted in WANTED.items():
        if isinstance(criterion, kind) and activation not in wanted:
            raise ValueError(
                f"criterion={name} expects {' or '.join(WORDS[w] for w in wanted)}, but the module returns "
                f"{WORDS[activation]}. Change the module's last activation, or leave criterion='auto'."
            )
    if n_classes is None:
        return
    units = 1 if isinstance(criterion, nn.BCELoss | nn.BCEWithLogitsLoss) and n_classes == 2 else n_classes
    if n_raw != units and (units == 1 or isinstance(criterion, tuple(WANTED))):
        raise ValueError(
            f"The module has {n_raw} outputs, but criterion={name} with {n_classes} classes needs {units}. "
            "Let the module take its number of outputs as `n_outputs`, or change its last layer."
        )


def row_losses(criterion: nn.Module, pred: Tensor, y: Tensor, activation: str | None) -> Tensor:
    """The criterion on predictions and targets brought to the shapes and scale it expects."""
    kind = plain(criterion)
    if isinstance(kind, nn.NLLLoss) and activation != "log_softmax":
        # skorch's convention: the module returns probabilities
        pred = torch.log(pred + torch.finfo(pred.dtype).eps)
    elif isinstance(kind, nn.BCELoss | nn.BCEWithLogitsLoss):
        y = y.to(pred.dtype).reshape(pred.shape) if y.numel() == pred.numel() else _one_hot(y, pred)
    elif y.is_floating_point() and y.shape != pred.shape and y.numel() == pred.numel():
        # (n,) against (n, 1) would broadcast to (n, n)
        y = y.reshape(pred.shape)
    return criterion(pred, y)


def _one_hot(y: Tensor, pred: Tensor) -> Tensor:
    return nn.functional.one_hot(y, pred.shape[1]).to(pred.dtype)


def weighted_mean(losses: Tensor, weight: Tensor) -> Tensor:
    """``sum(w * l) / sum(w)`` with the losses of a row averaged first."""
    return (losses.reshape(len(weight), -1).mean(1) * weight).sum() / weight.sum()


def unreduced(criterion: nn.Module) -> Any:
    """The criterion with one loss a row, sharing all else."""
    if getattr(plain(criterion), "reduction", None) not in ("mean", "sum"):
        raise ValueError(
            f"sample_weight and class_weight need a criterion with a `reduction`, which {type(criterion).__name__} "
            "has not."
        )
    return _Unreduced(plain(criterion))


class _Unreduced:
    """``with`` block in which a criterion returns one loss a row."""

    def __init__(self, criterion: Any) -> None:
        self.criterion = criterion

    def __enter__(self) -> None:
        self.saved = self.criterion.reduction
        self.criterion.reduction = "none"

    def __exit__(self, *exc: object) -> None:
        self.criterion.reduction = self.saved


def class_probabilities(pred: Tensor, activation: str) -> NDArray:
    """Probabilities ``(n, n_classes)`` from a module's output."""
    if activation in ("linear", "log_softmax") and pred.ndim == 2 and pred.shape[1] > 1:
        return torch.softmax(pred.detach().double(), 1).cpu().numpy()
    margins, head = class_margins(pred, activation)
    return np.exp(head.log_probabilities(margins))


def class_margins(pred: Tensor, activation: str) -> tuple[NDArray, Head]:
    """Margins ``(n, n_classes)`` from a module's output, and the head they belong to."""
    out = pred.detach().double().cpu().numpy()
    out = out.reshape(len(out), -1)
    one_unit = out.shape[1] == 1
    if activation in ("softmax", "sigmoid"):
        p = np.clip(out, np.finfo(np.float32).tiny, 1.0)
        out = np.log(p) - np.log1p(-np.minimum(p, 1 - 2.0**-24)) if one_unit else np.log(p)
    head = Head("sigmoid" if one_unit else "softmax", out.shape[1])
    return head(out), head
