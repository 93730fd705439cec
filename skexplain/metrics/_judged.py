"""An explanation and its model, made ready to be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .._head import Output
from .._network import Network, owners
from .._subject import subject_of
from ..attributions._completeness import pick
from ..explanation import Explanation

#: How far the model's outputs may be from those that were explained, as a fraction of their size.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Judged:
    """An explanation and its model.

    Attributes
    ----------
    network : Network
    rows, background : ndarray of shape (n, *features)
        As `network` reads them.
    groups : list of int ndarray
        Flat columns of the rows that each entry of the explanation is.
    target : int ndarray of shape (n,)
    values : ndarray of shape (n, n_groups)
    """

    network: Network
    rows: NDArray
    background: NDArray
    groups: list[NDArray]
    target: NDArray
    values: NDArray

    def outputs(self, rows: NDArray) -> NDArray:
        """The explained output of each of some rows, several for each row that was explained: ``(..., n)``."""
        several = rows.reshape(-1, *self.rows.shape[1:])
        target = np.tile(self.target, len(several) // len(self.rows))
        return pick(self.network.predict(several), target).reshape(-1, len(self.rows))

    def columns(self, removed: NDArray) -> NDArray:
        """Which numbers of each row belong to groups that are removed: from ``(n, n_groups)`` to the shape of rows."""
        owner = owners(self.groups, self.rows[0].size)
        flat = np.concatenate([removed, np.zeros((len(removed), 1), dtype=bool)], axis=1)[:, owner]
        return flat.reshape(self.rows.shape)


def judged(model: Any, explanation: Explanation, background: Any) -> Judged:
    """Look at the model as the explanation did.

    Raises
    ------
    ValueError
        For an explanation of all outputs or of a function of them, or of another model.
    TypeError
        For an explanation of texts.
    """
    if not isinstance(explanation, Explanation):
        raise TypeError(f"A {type(explanation).__name__} has no columns that can be taken away; pass an Explanation.")
    if explanation.values.ndim != 2:
        raise ValueError(
            "The explanation has values for every output; explain one output of each row, such as target='predicted'."
        )
    columns = explanation.columns
    names = None
    if not explanation.groups and columns is not None and not hasattr(explanation.data, "columns"):
        alone = [name for name, column in zip(explanation.names, columns, strict=True) if column >= 0]
        names = alone if len(alone) == int(np.prod(np.shape(explanation.data)[1:])) else None
    s = subject_of(
        model,
        explanation.data,
        None,
        explanation.strategy,
        background,
        cast(Output, explanation.output),
        explanation.groups or None,
        names,
        explanation.random_state,
    )
    if len(s.names) != len(explanation.names) or (columns is not None and not np.array_equal(s.columns, columns)):
        raise ValueError(
            f"The explanation has {len(explanation.names)} entries, but the model's rows have {len(s.names)} columns "
            "or groups; pass the model that was explained."
        )
    rows = s.read(s.rows)
    outputs = s.network.predict(rows)
    labels = list(range(outputs.shape[1])) if s.network.classes is None else s.network.classes.tolist()
    position = {label: k for k, label in enumerate(labels)}
    asked = np.zeros(len(rows), int).tolist() if explanation.target is None else explanation.target.tolist()
    if any(label not in position for label in asked):
        raise ValueError(
            "The explanation is of a function of the outputs; explain an output, such as target='predicted' or a label."
        )
    target = np.array([position[label] for label in asked], dtype=int)
    found, size = pick(outputs, target), np.abs(outputs).max(initial=0)
    if not np.allclose(found, explanation.predictions, rtol=0, atol=TOLERANCE * size):
        raise ValueError("The model's outputs are not those that were explained; pass the model that was explained.")
    return Judged(s.network, rows, s.background, s.groups, target, explanation.values)


def check_signed(explanation: Explanation, name: str) -> None:
    """Refuse sizes without a sign."""
    if not getattr(explanation.strategy, "signed", True):
        raise ValueError(
            f"{explanation.strategy} gives sizes without a sign, and {name} compares values with changes of the "
            "output; use a signed strategy, or deletion(..., by='size')."
        )
