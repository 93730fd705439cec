"""Which parameter goes where: ``optimizer__learning_rate`` and its like, in scikeras' grammar."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from ..training._watcher import Watcher

#: Prefixes of parameters that an estimator hands on.
ROUTES = ("model", "fit", "compile", "predict", "optimizer", "loss", "metrics", "callbacks")

#: Kinds of parameters that stand for any number of arguments.
ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def routed(params: Mapping[str, Any], destination: str) -> dict[str, Any]:
    """Parameters that begin with ``destination__``, without the prefix."""
    prefix = destination + "__"
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


def instantiated(item: Any, options: Mapping[str, Any], what: str, find: Callable[[str], Any]) -> Any:
    """Make classes into instances, inside lists and dicts too.

    Parameters
    ----------
    item : str, class, instance, list, tuple, dict or None
        Strings are looked up by ``find``; instances pass.
    options : dict
        Arguments of classes. ``1__x`` and ``name__x`` go to one item of a list or dict, ``x`` to every class in
        it; ``x__y`` is an argument of argument ``x`` when that is a class.
    what : str
        Name of the parameter, for errors.
    find : callable
        From a name and its options to what it stands for.

    Raises
    ------
    TypeError
        For options of something that is not a class.
    """
    if isinstance(item, list | tuple):
        parts = [instantiated(one, _of_item(options, str(k)), what, find) for k, one in enumerate(item)]
        return type(item)(parts)
    if isinstance(item, Mapping):
        return {k: instantiated(one, _of_item(options, str(k)), what, find) for k, one in item.items()}
    if isinstance(item, str):
        item = _class_of(item, find) if options else item
    if inspect.isclass(item):
        own = {k: v for k, v in options.items() if "__" not in k}
        own = {k: instantiated(v, routed(options, k), f"{what}__{k}", lambda s: s) for k, v in own.items()}
        by_place = [own.pop(k) for k in sorted((k for k in own if k.isdigit()), key=int)]
        return item(*by_place, **own)
    if options:
        raise TypeError(
            f"{what}={item!r} takes no parameters, but got {sorted(options)}. Pass a name or a class instead of an "
            "instance or a function, or set them where it is made."
        )
    return item


def _of_item(options: Mapping[str, Any], key: str) -> dict[str, Any]:
    others = {k: v for k, v in options.items() if "__" not in k and not k.isdigit()}
    return others | routed(options, key)


def _class_of(name: str, find: Callable[[str], Any]) -> Any:
    found = find(name)
    return found if inspect.isclass(found) or not hasattr(found, "get_config") else type(found)


def find_loss(name: str) -> Any:
    """The class of a loss that has one, from any of its names: only classes take options."""
    return _camel(keras.losses.get(name), keras.losses)


def find_metric(name: str) -> Any:
    """The class of a metric, from any of its names."""
    return _camel(keras.metrics.get(name), keras.metrics)


def _camel(found: Any, module: Any) -> Any:
    name = getattr(found, "__name__", type(found).__name__)
    camel = "".join(part.title() for part in name.split("_"))
    return getattr(module, camel, found)


@dataclass(frozen=True)
class Made:
    """An optimizer, metric or loss as its class and arguments: pickled without Keras' file format.

    Attributes
    ----------
    kind : type
    config : dict
        Arguments of ``from_config``.
    whole : bool
        Whether these are all attributes instead, which need no call to be made.
    """

    kind: type
    config: dict[str, Any]
    whole: bool = False

    @classmethod
    def of(cls, item: Any) -> Made:
        """Read the arguments of an instance.

        Raises
        ------
        TypeError
            When the user's own class does not say all that it takes.
        """
        if isinstance(item, keras.Loss) and _is_keras(item.get_config):
            # it leaves arguments out, and what a loss keeps is nothing but its arguments
            return cls(type(item), dict(vars(item)), whole=True)
        config = item.get_config()
        parameters = [p.name for p in inspect.signature(item.__init__).parameters.values() if p.kind not in ANY]
        # not public; Keras' own metrics leave some out of their configuration
        left_out = getattr(item, "_fn_kwargs", None) or {}
        config = {name: v for name, v in left_out.items() if name in parameters} | config
        schedule = getattr(item, "_learning_rate", None)
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            config["learning_rate"] = schedule  # its class may be unknown to Keras
        missing = [name for name in parameters if name not in config]
        if missing and not _is_keras(item.__init__) and _is_keras(item.from_config):
            raise TypeError(
                f"An instance of {type(item).__name__} cannot be copied, because its get_config lacks {missing}, which "
                f"its __init__ takes. Add get_config to {type(item).__name__} that says all that __init__ takes."
            )
        return cls(type(item), config)

    def make(self) -> Any:
        if self.whole:
            made: Any = object.__new__(self.kind)
            vars(made).update(self.config)
            return made
        return self.kind.from_config(dict(self.config))  # type: ignore[attr-defined]


def _is_keras(method: Any) -> bool:
    return method.__module__.startswith("keras.")


def mapped(item: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function inside lists, tuples and dicts."""
    if isinstance(item, list | tuple) and not hasattr(item, "_fields"):
        return type(item)(mapped(one, function) for one in item)
    if isinstance(item, Mapping):
        return {k: mapped(one, function) for k, one in item.items()}
    return function(item)


def frozen(item: Any) -> Any:
    """Optimizers, metrics and losses as `Made`."""
    kinds = (keras.optimizers.Optimizer, keras.metrics.Metric, keras.losses.Loss)
    return mapped(item, lambda one: Made.of(one) if isinstance(one, kinds) else one)


def thawed(item: Any) -> Any:
    """`Made` as optimizers, metrics and losses."""
    return mapped(item, lambda one: one.make() if isinstance(one, Made) else one)


def fresh(item: Any) -> Any:
    """Copies without state of optimizers and metrics: the user's own are not trained."""
    kinds = (keras.optimizers.Optimizer, keras.metrics.Metric)
    return mapped(item, lambda one: Made.of(one).make() if isinstance(one, kinds) else one)


def compile_arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``Model.compile``, with instances made of names and classes.

    Parameters
    ----------
    params : dict
        Of the estimator, defaults resolved.
    """
    finders: dict[str, Callable[[str], Any]] = {
        "optimizer": keras.optimizers.get,
        "loss": find_loss,
        "metrics": find_metric,
    }
    arguments = {
        what: fresh(instantiated(params.get(what), routed(params, what), what, find)) for what, find in finders.items()
    }
    if isinstance(arguments["optimizer"], str):
        arguments["optimizer"] = keras.optimizers.get(arguments["optimizer"])
    if isinstance(arguments["loss"], str):
        arguments["loss"] = keras.losses.get(arguments["loss"])
    if arguments["metrics"] is not None and not isinstance(arguments["metrics"], list | dict):
        arguments["metrics"] = [arguments["metrics"]]
    return arguments | {"run_eagerly": params.get("run_eagerly", False)} | routed(params, "compile")


def accepted(function: Callable[..., Any], offered: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for a build function: the user's own, and of those offered the ones it asks for.

    Raises
    ------
    TypeError
        When it does not take one of the user's.
    """
    parameters = inspect.signature(function).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if anything else [name for name in own if name not in parameters]
    if unknown:
        raise TypeError(
            f"The build function {getattr(function, '__name__', function)} takes no parameter {unknown[0]!r}; it takes "
            f"{list(parameters)}."
        )
    return {name: value for name, value in offered.items() if anything or name in parameters} | dict(own)


def takes(function: Any, name: str) -> bool:
    """Whether a build function has a parameter of this name, or takes any."""
    if not callable(function) or isinstance(function, keras.Model):
        return False
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def callback_list(params: Mapping[str, Any]) -> list[Any]:
    """Callbacks of ``fit``, made and flattened: of Keras, or a `Watcher`.

    Raises
    ------
    TypeError
        For anything that is not a callback.
    """
    made = instantiated(params.get("callbacks"), routed(params, "callbacks"), "callbacks", lambda s: s)
    flat, queue = [], [made, params.get("fit__callbacks")]
    while queue:
        item = queue.pop(0)
        if isinstance(item, Mapping):
            queue = [*item.values(), *queue]
        elif isinstance(item, list | tuple):
            queue = [*item, *queue]
        elif inspect.isclass(item):
            queue = [item(), *queue]
        elif isinstance(item, keras.callbacks.Callback | Watcher):
            flat.append(item)
        elif item is not None:
            raise TypeError(
                f"callbacks contains {item!r}; pass instances or classes of keras.callbacks.Callback or of "
                "skexplain.training, in lists or dicts."
            )
    return flat
