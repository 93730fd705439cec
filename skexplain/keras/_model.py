"""From the parameter ``model`` to a new, compiled Keras model; and models as things that can be pickled."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._inputs import Inputs
from ._default import every_layer
from ._globals import computing_in, seeded
from ._routing import fresh, frozen, thawed
from ._table import reads_table


@dataclass(frozen=True)
class Architecture:
    """A Keras model without its weights, by its classes and their configurations.

    Unlike Keras' own pickling it needs no registry: classes of layers and functions travel by reference, or by value
    where the pickler can (loky, cloudpickle), so that those defined in a notebook or ``__main__`` work too.

    Attributes
    ----------
    kind : type
    config : dict
    custom : dict
        Name -> layer class or function that is not Keras' own.
    compiled : dict or None
        Arguments of ``compile``.
    input_shape : tuple or None
        For models that are built when they are called.
    """

    kind: type
    config: dict[str, Any]
    custom: dict[str, Any]
    compiled: dict[str, Any] | None
    input_shape: tuple[int | None, ...] | None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"compiled": frozen(self.compiled)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, compiled=thawed(state["compiled"]))

    @classmethod
    def of(cls, model: keras.Model) -> Architecture:
        """Read a model's architecture; the model is not changed.

        Raises
        ------
        TypeError
            For a subclassed model that cannot say how it was made.
        """
        try:
            config = model.get_config()
        except NotImplementedError as exc:
            raise TypeError(
                f"A model of class {type(model).__name__} cannot be copied, because it has no get_config. Add "
                "get_config, or pass a function that builds the model instead of the model."
            ) from exc
        compiled = None
        if model.compiled:
            known = getattr(model, "_compile_config", None)
            compiled = dict(known.config) if known is not None else {"optimizer": model.optimizer, "loss": model.loss}
            compiled = {name: fresh(value) for name, value in compiled.items()}
        shape = getattr(model, "_build_shapes_dict", None) or {}
        return cls(type(model), config, _custom_objects(model), compiled, next(iter(shape.values()), None))

    def build(self) -> keras.Model:
        """A new model with new weights.

        Raises
        ------
        TypeError
            For a subclassed model whose ``__init__`` does not take what its ``get_config`` says.
        """
        kind: Any = keras.Model if self.kind.__name__ == "Functional" else self.kind
        model = self._made(kind)
        if not model.built and self.input_shape is not None:
            model.build(self.input_shape)
        if self.compiled is not None:
            model.compile(**{name: fresh(value) for name, value in self.compiled.items()})
        return model

    def _made(self, kind: Any) -> keras.Model:
        own_init = kind.__init__ is not keras.Model.__init__
        if own_init and kind.get_config is keras.Model.get_config and not _parameters(kind):
            return kind()  # there is only one way to make it
        try:
            return kind.from_config(self.config, **_custom_argument(kind, self.custom))
        except TypeError as exc:
            raise TypeError(
                f"A model of class {kind.__name__} cannot be copied from its get_config: {_cause(exc)}. Pass a "
                "function that builds the model instead of the model, or let get_config say what __init__ takes."
            ) from exc


def _parameters(kind: Any) -> list[str]:
    return [name for name in inspect.signature(kind.__init__).parameters if name != "self"]


def _cause(exc: BaseException) -> str:
    """First line of the error at the root of another one."""
    while exc.__cause__ is not None or exc.__context__ is not None:
        exc = exc.__cause__ or exc.__context__  # type: ignore[assignment]
    return str(exc).strip().splitlines()[0].rstrip(".")


def _custom_argument(kind: Any, custom: dict[str, Any]) -> dict[str, Any]:
    own = "custom_objects" in kind.from_config.__code__.co_varnames
    return {"custom_objects": custom} if own else {}


def _custom_objects(model: keras.Model) -> dict[str, Any]:
    """Classes of layers, and functions held by layers, that Keras would not find by itself."""
    found: dict[str, Any] = {}
    for layer in every_layer(model):
        # Keras wraps methods such as `build` and keeps them with the instance
        held = (item for name, item in vars(layer).items() if not hasattr(type(layer), name))
        for item in (type(layer), *held):
            named = callable(item) and hasattr(item, "__name__") and hasattr(item, "__module__")
            if named and not str(item.__module__).startswith(("keras.", "builtins", "tensorflow.", "torch.")):
                found[item.__name__] = item
            elif isinstance(item, keras.Initializer | keras.Regularizer) and not _is_keras(type(item)):
                found[type(item).__name__] = type(item)
    return found


def _is_keras(kind: type) -> bool:
    return kind.__module__.startswith("keras.")


def renewed(model: keras.Model, architecture: Architecture) -> keras.Model:
    """A copy of a user's model with new weights, except for those that training would leave as they are.

    Frozen layers (``trainable=False``) and adapted `Normalization` layers keep theirs.
    """
    copy = architecture.build()
    for old, new in zip(every_layer(model), every_layer(copy), strict=False):
        fixed = not old.trainable or isinstance(old, keras.layers.Normalization)
        if fixed and old.built and new.built and type(old) is type(new):
            set_weights(new, old.get_weights())
    return copy


def set_weights(model: Any, weights: list[NDArray]) -> None:
    """Set weights; `Normalization` layers need telling, as they compute from copies of theirs."""
    model.set_weights(weights)
    for layer in (model, *every_layer(model)):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


@dataclass(frozen=True)
class Recipe:
    """How a fitted model was made, so that it can be made again anywhere and given its weights.

    Attributes
    ----------
    make : callable, Architecture
        A build function, or the architecture of a user's model.
    arguments : dict
        Of the build function.
    compile_arguments : dict or None
        For models that come out uncompiled.
    dtype : str
    """

    make: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)
    compile_arguments: Mapping[str, Any] | None = None
    dtype: str = "float32"

    def build(self) -> keras.Model:
        """A new model as it is made, not compiled unless that is part of it."""
        # the arguments may hold an optimizer, which serves one model only
        arguments = {name: fresh(value) for name, value in self.arguments.items()}
        made = self.make.build() if isinstance(self.make, Architecture) else self.make(**arguments)
        if not isinstance(made, keras.Model):
            raise TypeError(
                f"The build function {getattr(self.make, '__name__', self.make)} returned a {type(made).__name__}; it "
                "must return a keras.Model."
            )
        return made

    def __getstate__(self) -> dict[str, Any]:
        return frozen(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(thawed(state))

    def compile(self, model: keras.Model) -> None:
        """Compile a model that is not."""
        if not model.compiled and self.compile_arguments is not None:
            arguments = {name: fresh(value) for name, value in self.compile_arguments.items() if value is not None}
            model.compile(**arguments)


@dataclass(frozen=True)
class Packed:
    """A fitted model as a recipe and NumPy arrays: what is pickled."""

    recipe: Recipe
    weights: list[NDArray]
    optimizer: list[NDArray]
    input_shape: tuple[int, ...] | None
    inputs: Inputs | None = None

    @classmethod
    def of_parameter(cls, model: keras.Model) -> Packed:
        """A user's model, which may be untrained or not even built."""
        return cls(Recipe(Architecture.of(model)), model.get_weights() if model.built else [], [], None)

    @classmethod
    def of(cls, model: keras.Model, recipe: Recipe, input_shape: tuple[int, ...], inputs: Inputs | None) -> Packed:
        variables = model.optimizer.variables if model.optimizer is not None else []
        return cls(recipe, model.get_weights(), [as_array(v) for v in variables], input_shape, inputs)

    def unpack(self) -> keras.Model:
        """The model; making it uses no global random generator."""
        with seeded(0), computing_in(self.recipe.dtype):
            model = self.recipe.build()
            if self.input_shape is not None:
                ensure_built(model, self.input_shape, self.inputs)
            if self.weights:
                set_weights(model, self.weights)
            self.recipe.compile(model)
            if self.optimizer and model.optimizer is not None:
                model.optimizer.build(model.trainable_variables)
                for variable, value in zip(model.optimizer.variables, self.optimizer, strict=True):
                    variable.assign(value)
        return model


def ensure_built(model: keras.Model, input_shape: tuple[int, ...], inputs: Inputs | None = None) -> None:
    """Make the weights of a model that waits for its first call."""
    if not model.built or not _counts_weights(model):
        from ._network import predict_once

        predict_once(reads_table(model, inputs), np.zeros((1, *input_shape)))


def _counts_weights(model: keras.Model) -> bool:
    return all(layer.built for layer in every_layer(model))


def as_array(variable: Any) -> NDArray:
    return np.array(keras.ops.convert_to_numpy(variable))
