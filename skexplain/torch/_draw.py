"""New weights for a module that is given as an instance."""

from __future__ import annotations

from torch import nn


def draw_weights(module: nn.Module) -> None:
    """Draw initial weights anew, so that no fit starts from another fit's; frozen ones are kept.

    Raises
    ------
    ValueError
        For a part with weights that does not say how they are drawn.
    """
    for part in module.modules():
        if next(part.parameters(recurse=False), None) is None:
            continue
        if not any(p.requires_grad for p in part.parameters(recurse=False)):
            continue  # frozen on purpose
        draw = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if not callable(draw):
            raise ValueError(
                f"module is an instance, and its {type(part).__name__} has weights but no `reset_parameters`, so they "
                "cannot be drawn anew for a fit. Pass the class and `module__` parameters; to go on from the "
                "weights as they are, set warm_start=True."
            )
        draw()
