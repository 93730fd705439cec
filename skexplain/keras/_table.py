"""Models of several inputs, as functions of one table."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from .._inputs import Input, Inputs


class TakesTable(keras.Model):
    """A model as a function of a table whose columns are its inputs.

    Parameters
    ----------
    model : keras.Model
        Not changed.
    inputs : Inputs
    """

    def __init__(self, model: keras.Model, inputs: Inputs) -> None:
        super().__init__(dtype=model.dtype_policy)
        self.model, self.layout = model, inputs
        self.built = True  # a trial call to build it would be noted in the layers of the model

    def call(self, x: Any, training: bool | None = None) -> Any:
        options = {"training": training} if getattr(self.model, "_call_has_training_arg", True) else {}
        if number_of_inputs(self.model) is None and _asks_for_several(self.model):
            parts = [_part(x, part) for part in self.layout.parts]
            if not self.layout.named:
                return self.model(*parts, **options)
            return self.model(**{str(p.name): v for p, v in zip(self.layout.parts, parts, strict=True)}, **options)
        return self.model(arranged(self.model, x, self.layout), **options)


def reads_table(model: keras.Model, inputs: Inputs | None) -> keras.Model:
    """The model as a function of the table; as it is, if that is its only input."""
    return model if inputs is None else TakesTable(model, inputs)


def without_table(model: Any) -> Any:
    """The model that is made a function of a table."""
    return model.model if isinstance(model, TakesTable) else model


def number_of_inputs(model: Any) -> int | None:
    """How many inputs a model has; None if it does not say."""
    inputs = getattr(model, "inputs", None)
    return len(inputs) if isinstance(inputs, list) else None


def arranged(model: Any, x: Any, inputs: Inputs | None) -> Any:
    """Columns of a table in the structure in which the model takes its inputs; for None the table itself.

    Raises
    ------
    ValueError
        For inputs of another number, or other names, than the model has.
    """
    if inputs is None:
        return x
    if number_of_inputs(model) is None:
        parts = [_part(x, part) for part in inputs.parts]
        return {str(p.name): v for p, v in zip(inputs.parts, parts, strict=True)} if inputs.named else parts
    read = {id(tensor): _part(x, part, tensor.dtype) for tensor, part in zip(*_matched(model, inputs), strict=True)}
    return keras.tree.map_structure(lambda tensor: read[id(tensor)], _structure(model))


def _matched(model: Any, inputs: Inputs) -> tuple[list[Any], list[Input]]:
    """Tensors that the model takes, and the input for each."""
    tensors = list(model.inputs)
    if not inputs.named:
        if len(tensors) != len(inputs.parts):
            raise ValueError(
                f"The model has {len(tensors)} inputs, but X has {len(inputs.parts)}: {inputs.describe()}."
            )
        return tensors, list(inputs.parts)
    named = {part.name: part for part in inputs.parts}
    names = [tensor.name for tensor in tensors]
    if set(names) != set(named):
        raise ValueError(
            f"The model's inputs are named {names}, but those of X {list(named)}. Use the model's names, or pass a "
            "tuple in the model's order."
        )
    return tensors, [named[name] for name in names]


def _structure(model: Any) -> Any:
    """In which the model takes its inputs."""
    return getattr(model, "_inputs_struct", model.inputs)  # not public; a dict of tensors cannot be told otherwise


def _part(x: Any, part: Input, dtype: Any = None) -> Any:
    """An input, from the table that it is part of."""
    columns, k = part.columns, len(part.columns)
    adjoining = k > 0 and np.array_equal(columns, np.arange(columns[0], columns[0] + k))
    values = x[:, columns[0] : columns[0] + k] if adjoining else keras.ops.take(x, columns, axis=1)
    values = keras.ops.reshape(values, (-1, *part.shape))
    dtype = dtype or ("int32" if part.whole else None)
    return values if dtype is None else keras.ops.cast(values, dtype)


def _asks_for_several(model: Any) -> bool:
    """Whether ``call`` asks for more than one argument."""
    parameters = inspect.signature(type(model).call).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.default is p.empty and p.kind in kinds for p in parameters) > 2  # beside self
