"""What files of `skexplain.save` hold of the Keras estimators."""

from __future__ import annotations

import inspect
import io
import json
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras

from .. import keras as ours
from .._encoding import INSTEAD, Kind, Reader, Writer
from ._base import KerasEstimator
from ._globals import computing_in, seeded
from ._model import Architecture, Recipe, as_array, ensure_built, set_weights
from ._routing import Made, fresh

#: Made-up rows of an estimator, as its network reads them.
PROBE = "_probe"
#: What `fit` leaves in an estimator, beside what torch's have too.
FITTED = ("history_", "_input_shape", "_units", "_probe")

#: Classes of which Keras' own subclasses run nothing but themselves.
HARMLESS = (
    keras.Operation,
    keras.Optimizer,
    keras.Loss,
    keras.Metric,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.dtype_policies.DTypePolicy,
    keras.random.SeedGenerator,
)
#: Layers that hold code or read other files.
CODE = tuple(
    "Lambda TorchModuleWrapper TFSMLayer JaxLayer FlaxLayer TextVectorization StringLookup IntegerLookup".split()
)
#: Marks in a configuration that stand for no class.
MARKS = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
ROOMS = (
    keras.activations,
    keras.constraints,
    keras.initializers,
    keras.losses,
    keras.metrics,
    keras.optimizers,
    keras.optimizers.schedules,
    keras.regularizers,
)
MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}


def known() -> dict[str, Any]:
    """Classes and functions that a file may name without being trusted."""
    found: dict[str, Any] = {"keras:Wrapped": keras.losses.Huber.__base__}
    own = {name: getattr(ours, name) for name in ours.__all__}
    found |= {f"skexplain.keras:{name}": item for name, item in own.items() if not hasattr(item, "fit")}
    for room in ROOMS:
        for name, item in vars(room).items():
            harmless = inspect.isclass(item) and issubclass(item, HARMLESS)
            if harmless or (inspect.isfunction(item) and name not in ("get", "serialize", "deserialize")):
                found[f"{room.__name__}:{name}"] = item
    return found


def check_config(config: Any, custom: Collection[str]) -> None:
    """Refuse what would run code, before Keras, whose own safe mode was not always safe, reads a configuration.

    Parameters
    ----------
    config : object
        As `json` reads it.
    custom : collection of str
        Names of the classes and functions that stand for themselves.

    Raises
    ------
    TypeError
        Naming the class.
    """
    if isinstance(config, list | tuple):
        for item in config:
            check_config(item, custom)
    if not isinstance(config, dict):
        return
    if "class_name" in config and not _may_stand(config, custom):
        raise TypeError(
            f"{config.get('module')}.{config['class_name']} ({config.get('config')!r:.60}) in the model is code, "
            "reads other files, or is unknown to Keras"
        )
    for item in config.values():
        check_config(item, custom)


def _may_stand(config: dict[str, Any], custom: Collection[str]) -> bool:
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name")
    if name in MARKS:
        return True
    if name == "function":
        function = config.get("config")
        builtin = any(inspect.isfunction(getattr(room, str(function), None)) for room in ROOMS)
        return function in custom or (builtin and str(module).split(".")[0] in ("builtins", "keras"))
    if name in custom or keras.saving.get_registered_object(registered) is not None:
        return True
    if str(module).split(".")[0] != "keras":
        return False
    found = getattr(sys.modules.get(str(module)), name, None)
    return inspect.isclass(found) and issubclass(found, HARMLESS) and name not in CODE


# --- models


def _write_model(model: keras.Model, writer: Writer, where: str, input_shape: Any = None) -> dict[str, Any]:
    """Layers and weights as Keras' archive; how it is compiled apart, as Keras would lose arguments."""
    architecture = Architecture.of(model)
    own = {} if architecture.kind.__module__.startswith("keras.") else {architecture.kind.__name__: architecture.kind}
    # layers of this library are registered with Keras
    custom = {k: v for k, v in (architecture.custom | own).items() if not v.__module__.startswith("skexplain.keras.")}
    names = [writer.plain(item, where) for item in custom.values()]
    blob = "parameter.keras" if where == "model" else "model.keras"
    twin = replace(architecture, compiled=None).build()
    if model.built:
        if input_shape is not None:
            ensure_built(twin, input_shape)
        set_weights(twin, model.get_weights())
    data = _archive_of(twin)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        config = json.loads(archive.read("config.json"))
        more = set(archive.namelist()) - MEMBERS
    try:
        check_config(config, custom)
    except TypeError as exc:
        raise TypeError(f"{where}={model!r} cannot be saved safely: {exc}. {INSTEAD}") from exc
    if more:
        raise TypeError(f"{where}={model!r} cannot be saved safely: layers of it keep files of their own. {INSTEAD}")
    writer.blobs[blob] = data
    return {"blob": blob, "names": names, "compiled": writer.plain(architecture.compiled, where)}


def _archive_of(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving a model that has not yet been built", UserWarning)
        path = Path(folder) / "model.keras"
        keras.saving.save_model(model, path)
        return path.read_bytes()


def _read_model(content: Any, reader: Reader) -> keras.Model:
    custom = {item.__name__: item for item in map(reader.value, content["names"])}
    data = reader.blob(content["blob"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if set(archive.namelist()) != MEMBERS or sum(m.file_size for m in archive.infolist()) > 2 * len(data):
            raise ValueError("the model is not what Keras writes")
        check_config(json.loads(archive.read("config.json")), custom)
        _check_sizes(archive.read("model.weights.h5"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        model = keras.saving.load_model(path, custom_objects=custom, compile=False, safe_mode=True)
    compiled = reader.value(content["compiled"])
    if compiled is not None:
        model.compile(**{name: fresh(value) for name, value in compiled.items()})
    return model


def _check_sizes(weights: bytes) -> None:
    """Refuse arrays that claim to be larger than the file."""

    def check(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and (item.nbytes > len(weights) or item.external or item.is_virtual):
            raise ValueError(f"{name} claims {item.nbytes} bytes")

    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(check)


# --- optimizers, losses and metrics


def _write_made(value: Any, writer: Writer, where: str) -> dict[str, Any]:
    made = Made.of(value)
    # a back end has optimizers of its own, which stand behind the names of Keras'
    kind = next(k for k in made.kind.__mro__ if not k.__module__.startswith("keras.src.backend."))
    return {
        "kind": writer.plain(kind, where),
        "config": writer.plain(made.config, where),
        "whole": made.whole,
    }


def _read_made(content: Any, reader: Reader) -> Any:
    kind, config = reader.value(content["kind"]), reader.value(content["config"])
    check_config(config, {kind.__name__})
    return Made(kind, config, content["whole"]).make()


def _is_made(value: Any) -> bool:
    kinds = (keras.Optimizer, keras.Loss, keras.Metric, keras.optimizers.schedules.LearningRateSchedule)
    return isinstance(value, kinds)


KINDS = (
    Kind("model", lambda v: isinstance(v, keras.Model), _write_model, _read_model),
    Kind("made", _is_made, _write_made, _read_made),
    Kind(
        "policy",
        lambda v: isinstance(v, keras.dtype_policies.DTypePolicy),
        lambda v, writer, where: v.name,
        lambda content, reader: keras.dtype_policies.DTypePolicy(content),
    ),
)


# --- estimators


def parameters(estimator: KerasEstimator) -> dict[str, Any]:
    """As they are now."""
    return estimator.get_params(deep=False)


def network(estimator: KerasEstimator, writer: Writer) -> dict[str, Any]:
    """The model, and the state of its optimizer."""
    with seeded(0), computing_in(estimator._recipe.dtype):
        model = _write_model(estimator.model_, writer, "model_", estimator._input_shape)
    state = [as_array(variable) for variable in estimator.model_.optimizer.variables]
    return {"model": model, "optimizer": writer.plain(state, "optimizer"), "dtype": estimator._recipe.dtype}


def restored(kind: type[KerasEstimator], parameters: dict[str, Any], content: Any, reader: Reader) -> KerasEstimator:
    """An estimator of these parameters with the model of the file."""
    estimator = kind(**parameters)
    with seeded(0), computing_in(content["dtype"]):
        model = _read_model(content["model"], reader)
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(model.optimizer.variables, reader.value(content["optimizer"]), strict=True):
            variable.assign(value)
    estimator.model_ = model
    estimator._recipe = Recipe(Architecture.of(model), dtype=content["dtype"])
    estimator._networks = {}
    return estimator
