"""What it costs to be watched: the same fit with VIANN looking at the weights after each step, and without.

The ratio is the time without divided by the time with: 0.97 is 3 % more. Keras' case is in `on_keras`, so torch is
imported by torch's only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skexplain.attributions import VIANN

from ._case import Case, Setting

ROWS, COLUMNS, BATCH, EPOCHS, WIDTHS = 5000, 30, 64, 30, (64, 32)
WANTED = 0.97


def watched_beside_not(setting: Setting, make: Callable[..., Any]) -> Case:
    """Fits of an estimator that `make` makes with and without an attribution that watches."""
    X = np.random.default_rng(0).normal(size=(setting.size(ROWS), COLUMNS)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int64)
    plain, watched = make(), make(attribution=VIANN(per="step"))
    errors = tuple(1 - net.fit(X, y).score(X, y) for net in (plain, watched))
    return Case("skexplain", lambda: plain.fit(X, y), lambda: watched.fit(X, y), WANTED, errors, "1 - accuracy")


def watching_torch(setting: Setting) -> Case:
    """fit watched at each step by VIANN, beside the same unwatched, 5000 x 30, MLP 64-32, batches of 64

    A look copies 1920 weights; their moments are taken in together for each 34 steps. Most of it is waiting for memory
    and calls of NumPy. The steps it is compared with are short, as they run without autograd.
    """
    from torch.optim import Adam

    from skexplain.torch import NeuralNetClassifier

    from ._problems import MLP

    def make(**watching: Any) -> NeuralNetClassifier:
        common = {"optimizer": Adam, "max_epochs": setting.size(EPOCHS, 2), "batch_size": BATCH, "random_state": 0}
        return NeuralNetClassifier(MLP, module__widths=WIDTHS, lr=0.003, **common, **watching)

    return watched_beside_not(setting, make)
