"""One task of the benchmark, in a module of its own so that other processes can import it."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import torch

from . import _recovery, _selection
from ._networks import default_network
from ._record import Record

PARTS = {"recovery": _recovery, "selection": _selection}


def run(part: str, name: str, draw: int, rows: int | None) -> list[Record]:
    """One task, in a process of its own or this one."""
    module = PARTS[part]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of training cut short, and the peers'
        warm_up()
        return module.job(name, draw, module.ROWS if rows is None else min(rows, module.ROWS))


@cache
def warm_up() -> None:
    """What a process does once, for no method to be charged: torch loads a good part of itself at the first fit."""
    import shap  # noqa: F401

    torch.set_num_threads(1)
    default_network(labels=True, seed=0).set_params(max_epochs=1).fit(np.eye(4), np.arange(4) % 2)
