"""Weights of a torch module from a file, without running code of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

#: Keys under which training loops put the weights beside other things.
INSIDE = ("state_dict", "model_state_dict")


def read_state(path: Path, build: Callable[[], Any], code: str) -> torch.nn.Module:
    """The module that ``build()`` makes, with the weights of the file, in evaluation mode.

    Raises
    ------
    ValueError
        For a file that is damaged or holds anything but tensors, and weights that do not fit the module.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as exc:  # readers of damaged files fail in any way
        raise ValueError(
            f"--model={str(path)!r} cannot be read as weights: {' '.join(str(exc).split())[:200]}. Save them by "
            "torch.save(module.state_dict(), path)."
        ) from exc
    inside = next((key for key in INSIDE if isinstance(state, Mapping) and isinstance(state.get(key), Mapping)), None)
    state = state if inside is None else state[inside]
    if not (isinstance(state, Mapping) and all(isinstance(value, torch.Tensor) for value in state.values())):
        raise ValueError(
            f"--model={str(path)!r} holds a {type(state).__name__}, no state_dict. Save the weights by "
            "torch.save(module.state_dict(), path)."
        )
    try:
        module = build()
    except TypeError as exc:
        raise ValueError(
            f"--module={code!r} cannot be called without arguments ({exc}); name a function that returns the module."
        ) from exc
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"--module={code!r} makes a {type(module).__name__}, no torch.nn.Module.")
    try:
        module.load_state_dict(state)
    except RuntimeError as exc:
        raise ValueError(f"--model={str(path)!r} does not fit --module={code!r}: {' '.join(str(exc).split())}") from exc
    return module.eval()
