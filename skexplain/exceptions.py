"""What can go wrong with an attribution, each error naming the remedy."""

from __future__ import annotations


class CompletenessError(RuntimeError):
    """Attributions that should add up to f(x) - f(reference) do not, so they are not returned."""


class UnsupportedModelError(TypeError):
    """The model, or something it is built of, cannot be explained by what was asked for."""


class InterruptedWarning(UserWarning):
    """Sampling was interrupted; the result is of the samples drawn so far."""
