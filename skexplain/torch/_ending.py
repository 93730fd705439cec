"""What a module ends in: its first output, and the activation that this has gone through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .._head import is_distribution
from ..exceptions import UnsupportedModelError
from ._attentions import SOFTMAX
from ._first_layer import PRODUCTS

LOG_SOFTMAX = {F.log_softmax, torch.log_softmax, Tensor.log_softmax}
SIGMOID = {F.sigmoid, torch.sigmoid, Tensor.sigmoid, torch.special.expit}
#: What probabilities may also be made by; in place, the argument is gone.
SQUASHING = {torch.sigmoid_, Tensor.sigmoid_, torch.exp, Tensor.exp, F.logsigmoid, torch.special.ndtr}


class LastActivation(TorchFunctionMode):
    """Remembers which call of an output activation gave which tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Tensor, Tensor]] = []
        self.any = self.squashed = False
        self.product: Any = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.any = True
        self.product = result if func in PRODUCTS else self.product
        self.squashed |= func in SQUASHING
        for name, functions in (("softmax", SOFTMAX), ("log_softmax", LOG_SOFTMAX), ("sigmoid", SIGMOID)):
            if func in functions and args:
                self.calls.append((name, args[0], result))
                self.squashed = True
        return result

    def before(self, out: Tensor) -> tuple[str, Tensor] | None:
        """Name and argument of the activation that returned ``out``."""
        return next(((name, z) for name, z, result in reversed(self.calls) if result is out), None)


def first_output(out: Any) -> Tensor:
    """The module's result; of several the first, as in skorch, or what is called logits."""
    out = getattr(out, "logits", out) if isinstance(out, Mapping) else out
    out = out[0] if isinstance(out, tuple | list) else out
    if not isinstance(out, Tensor):
        raise UnsupportedModelError(f"The module returns a {type(out).__name__}; it must return a tensor.")
    return out


def last_activation(module: Callable[[Tensor], Any], X: Tensor) -> tuple[str, bool]:
    """What the module's output has gone through, and whether the logits before it can be had.

    Returns
    -------
    name : {"softmax", "log_softmax", "sigmoid", "linear"}
    separable : bool
        Whether the activation was the very last call, so that its argument are the logits.

    Raises
    ------
    UnsupportedModelError
        When outputs look like probabilities, but it cannot be said of what.
    """
    with torch.no_grad(), LastActivation() as seen:
        out = first_output(module(X))
    last = seen.before(out)
    if last is not None:
        return last[0], True
    if seen.product is out:  # which behind saturated sigmoids may well stay between 0 and 1
        return "linear", True
    p = _as_rows(out)
    if is_distribution(p):
        return "softmax", False
    if np.all(p <= 0) and is_distribution(np.exp(p)):
        return "log_softmax", False
    if (seen.squashed or not seen.any) and _stays_between_0_and_1(module, X, p):
        sigmoids = [_as_rows(v).ravel() for name, _, v in seen.calls if name == "sigmoid"]
        if p.shape[1] == 1 or any(np.array_equal(p.ravel(), v) for v in sigmoids[-1:]):
            return "sigmoid", False
        raise UnsupportedModelError(
            f"The module returns {p.shape[1]} numbers between 0 and 1 a row, that do not sum to 1 and are not what a "
            "sigmoid returned. End it in softmax or sigmoid, or return logits."
        )
    return "linear", True


def _as_rows(out: Tensor) -> NDArray:
    p = out.detach().double().cpu().numpy()
    return p.reshape(len(p), -1) if p.ndim else p.reshape(1, 1)


def _stays_between_0_and_1(module: Callable[[Tensor], Any], X: Tensor, p: NDArray) -> bool:
    """Whether outputs are probabilities, also of rows far out, where logits would be large."""
    if np.any((p < 0) | (p > 1)):
        return False
    centre = X.mean(0, keepdim=True)
    for factor in (-30, 30):
        with torch.no_grad():
            try:
                far = _as_rows(first_output(module(centre + factor * (X - centre))))
            except (IndexError, RuntimeError):  # a look-up that has no such row
                continue
        if np.any((far < 0) | (far > 1)):
            return False
    return True
