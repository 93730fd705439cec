"""What files of `skexplain.save` hold of the torch estimators."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from skorch.dataset import Dataset
from skorch.exceptions import DeviceWarning
from skorch.history import History
from torch import nn
from torch.utils.data import DataLoader

from .. import torch as room
from .._encoding import Kind, Reader, Writer
from ._criterion import plain
from ._gated import ColumnGatedMLP
from ._module import MLP
from ._net import TorchEstimator
from ._untouched import seeded

WEIGHTS = "weights.safetensors"
#: Made-up rows of an estimator, as its network reads them.
PROBE = "_probe_rows"
#: What `fit` leaves in an estimator, beside what Keras' have too.
FITTED = ("classes_inferred_", "activation_", "_probe_rows")


def _read_tensor(content: Any, reader: Reader) -> torch.Tensor:
    if WEIGHTS not in reader.cache:
        reader.cache[WEIGHTS] = _safetensors().load(reader.blob(WEIGHTS))
    return reader.cache[WEIGHTS][content]


def _write_tensor(value: torch.Tensor, writer: Writer, where: str) -> str:
    # a copy: the format refuses tensors that share their memory, as tied weights do
    writer.tensors[where] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return where


KINDS = (Kind("tensor", lambda v: isinstance(v, torch.Tensor), _write_tensor, _read_tensor),)


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ModuleNotFoundError as exc:
        raise ImportError(
            "Saving and loading torch weights needs safetensors, which is not installed. Run: pip install "
            "'skexplain[torch]'"
        ) from exc
    return safetensors.torch


def known() -> dict[str, Any]:
    """Classes that a file may name without being trusted: none of them runs anything that is not there already."""
    found: dict[str, Any] = {"DataLoader": DataLoader, "Dataset": Dataset}
    own = {name: getattr(room, name) for name in room.__all__}
    for items, where, base in (
        (own, "skexplain.torch", nn.Module),
        (vars(nn), "torch.nn", nn.Module),
        (vars(torch.optim), "torch.optim", torch.optim.Optimizer),
    ):
        kinds = {name: item for name, item in items.items() if inspect.isclass(item) and issubclass(item, base)}
        found |= {f"{where}:{name}": item for name, item in kinds.items()}
    return found


def parameters(net: TorchEstimator) -> dict[str, Any]:
    """As they are now."""
    return {name: vars(net)[name] for name in net._get_param_names()}


def network(net: TorchEstimator, writer: Writer) -> dict[str, Any]:
    """The module, the criterion and the optimizer: how they are made, and their states."""
    parts = {"module": plain(net.module_), "criterion": plain(net.criterion_), "optimizer": net.optimizer_}
    states = {name: part.state_dict() for name, part in parts.items() if hasattr(part, "state_dict")}
    build, arguments = net._made_by
    if isinstance(parts["module"], ColumnGatedMLP):  # the one that training chose, with which it would go on
        arguments = {**arguments, "sparsity": parts["module"].gated_layer.sparsity}
    content = {
        "made_by": writer.plain((build, arguments), "module"),
        "criterion": writer.plain(type(parts["criterion"]), "criterion"),
        "optimizer": writer.plain(type(parts["optimizer"]), "optimizer"),
        "states": {name: writer.plain(state, f"{name}_") for name, state in states.items()},
        "history": writer.plain(list(net.history), "history_"),
    }
    writer.blobs[WEIGHTS] = _safetensors().save(writer.tensors)
    return content


def restored(kind: type[TorchEstimator], parameters: dict[str, Any], content: Any, reader: Reader) -> TorchEstimator:
    """A net of these parameters with the module, the criterion and the optimizer of the file."""
    device = parameters.get("device")
    if device is not None and torch.device(device).type == "cuda" and not torch.cuda.is_available():
        warnings.warn(f"The net was trained on {device}, which is not here; it is loaded to the CPU.", DeviceWarning, 2)
        parameters["device"] = "cpu"
    net = kind(**parameters)
    build, arguments = reader.value(content["made_by"])
    states = {name: reader.value(state) for name, state in content["states"].items()}
    with seeded(0), net._resolved():
        module = _module(build, arguments, states["module"])
        made = {name: reader.value(content[name]) for name in ("criterion", "optimizer")}
        with _instead(net, module=lambda **kwargs: module, **made):
            net.initialize()
    plain(net.criterion_).load_state_dict(states.get("criterion", {}))
    net.optimizer_.load_state_dict(states["optimizer"])
    net.history_ = History(reader.value(content["history"]))
    net._made_by = build, arguments
    return net


def _module(build: Any, arguments: dict[str, Any], state: dict[str, Any]) -> nn.Module:
    if build in (MLP, ColumnGatedMLP):  # without memory for weights that the file may claim and not have
        with torch.device("meta"):
            module: nn.Module = build(**arguments)
        module.load_state_dict(state, assign=True)
        return module
    module = build(**arguments)
    module.load_state_dict(state)
    return module


@contextmanager
def _instead(net: TorchEstimator, **parameters: Any) -> Iterator[None]:
    """Other parameters for the time of a block."""
    own = {name: net.__dict__[name] for name in parameters}
    net.__dict__.update(parameters)
    try:
        yield
    finally:
        net.__dict__.update(own)
