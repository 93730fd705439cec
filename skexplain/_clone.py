"""Clones that differ in nothing but what is meant to differ."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone


def seeded(model: Any, seed: int) -> Any:
    """A clone whose every ``random_state``, also inside of pipelines, is ``seed`` where it was None."""
    model = clone(model)
    free = {
        key: seed
        for key, value in model.get_params(deep=True).items()
        if value is None and (key == "random_state" or key.endswith("__random_state"))
    }
    return model.set_params(**free)


def reseeded(model: Any, seed: int) -> Any:
    """A clone whose every ``random_state``, also inside of pipelines, is ``seed`` whatever it was."""
    model = clone(model)
    return model.set_params(**dict.fromkeys(seeds_of(model), seed))


def seeds_of(model: Any) -> list[str]:
    """Names of the parameters that are a ``random_state``, also inside of pipelines."""
    return [key for key in model.get_params(deep=True) if key == "random_state" or key.endswith("__random_state")]
