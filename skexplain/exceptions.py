"""What can go wrong with an attribution, each error naming the remedy."""

from __future__ import annotations


class CompletenessError(RuntimeError):
    """Attributions that should add up to f(x) - f(reference) do not, so they are not returned."""


class UnsupportedModelError(TypeError):
    """The model, or something it is built of, cannot be explained by what was asked for."""


class UnsupportedLayerError(UnsupportedModelError):
    """A strategy has no rule for an operation of the network.

    Attributes
    ----------
    layer : str
        The operation, as its framework calls it.
    strategy : str
        The strategy that has no rule for it.
    alternatives : tuple of str
        Strategies that need none.
    """

    def __init__(
        self,
        layer: str,
        strategy: str,
        alternatives: tuple[str, ...] = ("integrated_gradients", "expected_gradients", "shapley_sampling"),
    ) -> None:
        # all arguments in args, so that the exception survives pickling between processes
        super().__init__(layer, strategy, alternatives)
        self.layer, self.strategy, self.alternatives = layer, strategy, alternatives

    def __str__(self) -> str:
        names = " or ".join(repr(name) for name in self.alternatives)
        return f"{self.strategy} has no rule for {self.layer}. Use attribution={names} for this network."


class InterruptedWarning(UserWarning):
    """Sampling was interrupted; the result is of the samples drawn so far."""
