"""Widths of a module, from the data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from .._categories import embedding_width

#: Names under which module classes take the width of their input, and the number of their outputs.
INPUT_NAMES = (
    "n_features",
    "n_features_in",
    "num_features",
    "n_inputs",
    "num_inputs",
    "n_input",
    "n_in",
    "num_in",
    "d_in",
    "dim_in",
    "in_dim",
    "input_dim",
    "in_features",
    "input_features",
    "in_size",
    "input_size",
    "n_in_features",
)
OUTPUT_NAMES = (
    "n_outputs",
    "num_outputs",
    "n_output",
    "n_out",
    "num_out",
    "d_out",
    "dim_out",
    "out_dim",
    "output_dim",
    "out_features",
    "output_features",
    "out_size",
    "output_size",
    "out_sz",
    "n_classes",
    "num_classes",
)


def sized(
    module: Callable[..., Any],
    given: Mapping[str, Any],
    n_features: int,
    n_outputs: int,
    cardinalities: Mapping[int, int] | None = None,
) -> dict[str, Any]:
    """Arguments for the module: those given, and the widths under the names it takes.

    Parameters
    ----------
    module : class or callable
    given : mapping
        Arguments set by the user; they win.
    n_features, n_outputs : int
        Of the data.
    cardinalities : mapping of int to int, optional
        Number of codes in each categorical column, if there are such.
    """
    try:
        accepted = set(inspect.signature(module).parameters)
    except ValueError:  # built without a signature
        return dict(given)
    widths: dict[str, Any] = {name: n_features for name in INPUT_NAMES if name in accepted}
    widths |= {name: n_outputs for name in OUTPUT_NAMES if name in accepted}
    if cardinalities is not None:
        pairs = [(n, embedding_width(n)) for _, n in sorted(cardinalities.items())]
        of_codes = {"cardinalities": dict(cardinalities), "emb_szs": pairs, "n_cont": n_features - len(pairs)}
        widths |= {name: value for name, value in of_codes.items() if name in accepted}
    return widths | dict(given)
