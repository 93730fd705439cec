"""A Keras model from a file, without running code of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras


def read_keras(path: Path, custom_objects: Mapping[str, Any]) -> keras.Model:
    """The model of a ``.keras`` archive, in Keras' safe mode.

    Raises
    ------
    ValueError
        For a file that is damaged, or needs code that is not given.
    """
    try:
        return keras.saving.load_model(path, custom_objects=dict(custom_objects), compile=False, safe_mode=True)
    except Exception as exc:  # readers of damaged files fail in any way
        why = " ".join(str(exc).split())
        why = why[:200] + "…" * (len(why) > 200)
        raise ValueError(
            f"--model={str(path)!r} cannot be read as a Keras model: {why} If it needs a class of yours, name it: "
            "--module package.module:Class."
        ) from exc
