"""Which weights of a torch module belong to which input column: found by running it, not by its layers' names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from ..exceptions import UnsupportedModelError
from ..training._input_weights import InputWeights, Kernel, largest_spread, spelled, switches
from ..training._moments import Moments
from ._first_products import REMEDY, FirstProducts, Product, Weights, first_products, same
from ._untouched import as_tensor, untouched

#: Rows that are looked at, and numbers that are run at once.
ROWS, NUMBERS = 16, 2**21
#: Steps of a sequence, and pixels of an edge, of rows made up for a module that does not say what rows it takes.
STEPS, EDGE = 4, 32


def find(module: nn.Module, X: NDArray | None = None) -> InputWeights:
    """Find the weights that a module puts on its input columns.

    Parameters
    ----------
    module : Module
        Compiled or not, in either mode, on any device.
    X : ndarray of shape (n, *features), optional
        Rows it takes; a few are looked at. Without them rows are made up after the module's layers, and the columns
        of sequences and images are their features and channels.

    Raises
    ------
    UnsupportedModelError
        When no layer has weights on single columns, or it is not known which layer it is.
    """
    module = getattr(module, "_orig_mod", module)
    if any(is_lazy(p) for p in module.parameters()):
        raise UnsupportedModelError(
            f"This {type(module).__name__} has layers that take their size from the first rows they see; run it once "
            "before it is watched."
        )
    if any(isinstance(layer, torch.jit.ScriptModule) for layer in module.modules()):
        raise UnsupportedModelError(f"What a scripted module computes from its input is not seen; {REMEDY}.")
    with _as_written(module):
        return _without_rows(module) if X is None else _weights(module, _found(module, np.asarray(X)))


@dataclass(frozen=True)
class _Site:
    """A product, and the columns that reach it.

    Attributes
    ----------
    product : Product
    by_row : callable
        From its operand to the numbers of each row, ``(n, n_numbers)``.
    column : int ndarray of shape (n_numbers,)
        From which column each comes; -1 for none.
    """

    product: Product
    by_row: Callable[[Tensor], Tensor]
    column: NDArray

    def pairs(self, weights: Weights) -> NDArray:
        """Columns and the weights' inputs that they are, ``(2, n_pairs)``."""
        inputs = self.by_row(weights.inputs.expand(self.product.operand.shape))
        if not (inputs == inputs[:1]).all():
            raise UnsupportedModelError(f"A layer takes the rows for its channels; {REMEDY}.")
        each = inputs[0].cpu().numpy()
        known = (self.column >= 0) & (each >= 0)
        return np.stack([self.column[known], each[known]])


@dataclass(frozen=True)
class _Found:
    """What a run of a module on rows has shown.

    Attributes
    ----------
    run : FirstProducts
    sites : list of _Site
    tensor : callable
        From rows to what the module takes.
    """

    run: FirstProducts
    sites: list[_Site]
    tensor: Callable[[NDArray], Tensor]

    @property
    def n_columns(self) -> int:
        return prod(self.run.x.shape[1:])


def _weights(module: nn.Module, found: _Found, channel: int | None = None) -> InputWeights:
    """As watchers take it; columns with the same index along ``channel``, an axis of the rows, are one column."""
    met: dict[Any, tuple[Weights, list[NDArray]]] = {}
    merged = _channels(found, channel)
    for site in found.sites:
        for weights in site.product.weights:
            columns, inputs = site.pairs(weights)
            met.setdefault(found.run.key(weights), (weights, []))[1].append(np.stack([merged[columns], inputs]))
    kernels = []
    for weights, pairs in met.values():
        columns, inputs = np.unique(np.concatenate(pairs, axis=1), axis=1)
        if len(columns):
            read = _reader(weights, found.run)
            kernels.append(Kernel(read, read().shape, weights.axis, columns, inputs))
    if not kernels:
        raise _no_layer(module)
    return InputWeights(tuple(kernels), int(merged[-1]) + 1, partial(_spread, module, channel))


def _spread(module: nn.Module, channel: int | None, X: NDArray) -> NDArray:
    """Standard deviation with which each column reaches its layers; of several numbers the largest."""
    X = np.asarray(X)
    with _as_written(module):
        found = _found(module, X)
        moments = [Moments(len(site.column)) for site in found.sites]
        size = max(found.n_columns, *(len(site.column) for site in found.sites))
        for rows in np.array_split(X, ceil(len(X) / max(2, NUMBERS // size))):
            run = first_products(module, found.tensor(_at_least_two(rows)), stop_after=len(found.sites))
            for moment, site, product in zip(moments, found.sites, run.products, strict=True):
                moment.add(site.by_row(product.operand)[: len(rows)].double().cpu().numpy())
    merged = _channels(found, channel)
    columns = [np.where(site.column >= 0, merged[site.column], -1) for site in found.sites]
    return largest_spread(moments, columns, merged[-1] + 1)


def _channels(found: _Found, axis: int | None) -> NDArray:
    """Of each column the index along an axis of the rows; its own without one."""
    features = found.run.x.shape[1:]
    columns = np.arange(prod(features))
    return columns if axis is None else np.unravel_index(columns, features)[axis]


# --- rows


def _found(module: nn.Module, X: NDArray) -> _Found:
    """What a few of the rows show."""
    rows = _at_least_two(X[np.unique(np.linspace(0, len(X) - 1, min(len(X), ROWS)).astype(int))])
    try:
        return _shown(module, rows)
    except UnsupportedModelError:
        raise
    except Exception as exc:  # whatever the module raises
        raise UnsupportedModelError(
            f"This {type(module).__name__} does not run on rows of shape {X.shape[1:]} and type {X.dtype}: {exc}"
        ) from exc


def _shown(module: nn.Module, rows: NDArray) -> _Found:
    """What a run on rows shows; raises what the module raises."""
    anchor = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))

    def as_numbers(X: NDArray) -> Tensor:
        return as_tensor(X).to(anchor.device, anchor.dtype)

    def as_codes(X: NDArray) -> Tensor:
        return as_tensor(X).to(anchor.device)

    tensor = as_codes if rows.dtype.kind in "iub" else as_numbers
    try:
        run = first_products(module, tensor(rows))
    except (RuntimeError, TypeError, ValueError):  # layers that take no codes
        if tensor is as_numbers:
            raise
        tensor = as_numbers
        run = first_products(module, tensor(rows))
    if not run.products:
        raise _no_layer(module)
    return _Found(run, _sites(module, tensor(rows), run), tensor)


def _without_rows(module: nn.Module) -> InputWeights:
    """The same from rows made up after a layer, if that layer then is among those that take the columns."""
    if all(parameter.ndim < 2 for parameter in module.parameters()):
        raise _no_layer(module)
    reason = UnsupportedModelError(
        f"This {type(module).__name__} does not say what rows it takes; give it a few, as in "
        "VarianceImportanceTorch(model, X=X) or on_train_begin(model, X)."
    )
    if any(isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in module.modules()):
        raise reason  # any number of columns may be codes
    results: dict[tuple[int, ...], InputWeights] = {}
    for layer in module.modules():
        features, channel = _features(layer)
        if features is None or features in results:
            continue
        rows = np.stack([np.zeros(features, dtype=int), np.ones(features, dtype=int)])
        try:
            found = _shown(module, rows)
            weights = _weights(module, found, channel)
        except UnsupportedModelError as exc:
            reason = exc
        except Exception:  # whatever the module raises: it takes other rows
            continue
        else:
            first = {id(t) for site in found.sites for w in site.product.weights for t in found.run.sources(w)}
            used = np.unique(np.concatenate([kernel.columns for kernel in weights.kernels]))
            if len(used) == weights.n_columns and any(id(p) in first for p in layer.parameters()):
                results[features] = weights
    if len(results) != 1:
        raise reason
    return next(iter(results.values()))


def _features(layer: nn.Module) -> tuple[tuple[int, ...] | None, int | None]:
    """Shape of a row that a layer takes, and the axis of it that runs over columns, if they are not the numbers."""
    if isinstance(layer, nn.Linear):
        return (layer.in_features,), None
    if isinstance(layer, nn.RNNCellBase):
        return (layer.input_size,), None
    if isinstance(layer, nn.RNNBase):
        return (STEPS, layer.input_size), 1
    if isinstance(layer, _ConvNd):
        return (layer.in_channels, *[EDGE] * len(layer.kernel_size)), 0
    return None, None


def _at_least_two(rows: NDArray) -> NDArray:
    """Modules may take a single row for none."""
    return rows if len(rows) > 1 else np.repeat(rows, 2, axis=0)


# --- columns


def _sites(module: nn.Module, x: Tensor, run: FirstProducts) -> list[_Site]:
    """The columns of each product's numbers."""
    if all(product.ordered for product in run.products):
        columns = np.arange(prod(x.shape[1:]))
        return [_Site(product, partial(_by_row, axis=0, per_row=1), columns) for product in run.products]
    error: Exception | None = None
    for with_constant in (True, False):  # what is made up for a column that does not vary may not be a code
        try:
            return _sites_by_trial(module, x, run, with_constant)
        except UnsupportedModelError:
            raise
        except Exception as exc:
            error = exc
    raise UnsupportedModelError(
        f"This {type(module).__name__} does not run on rows whose columns are taken from different rows ({error}), so "
        f"it cannot be seen which weights are whose; {REMEDY}."
    ) from error


def _sites_by_trial(module: nn.Module, x: Tensor, run: FirstProducts, with_constant: bool) -> list[_Site]:
    """Change columns, many together, and see which numbers change."""
    rows, features = x.flatten(1), x.shape[1:]
    others = _others(rows, with_constant)

    def operands(*versions: Tensor) -> list[list[Tensor]]:
        """Of each version of some rows the products' operands; results of products stay those of the first."""
        found: list[list[Tensor]] = []
        results = None
        for version in versions:
            seen = first_products(
                module, version.view(-1, *features), made_up=True, results=results, stop_after=len(run.products)
            )
            if len(seen.products) != len(run.products):
                raise UnsupportedModelError(f"Which layers are called depends on the values of the rows; {REMEDY}.")
            found.append([product.operand for product in seen.products])
            results = seen.results
        return found

    first = rows[:1]
    (two,) = operands(first.repeat(2, 1))
    three, middle = operands(first.repeat(3, 1), torch.cat([first, others[:1], first]))
    by_row = [_layout(*versions) for versions in zip(two, three, middle, strict=True)]

    n_columns = rows.shape[1]
    sets = torch.as_tensor(switches(n_columns), device=x.device)
    changed = [torch.zeros(len(sets), 1, dtype=torch.bool, device=x.device) for _ in by_row]
    size = max(n_columns, *(t.numel() // 2 for t in two)) * len(sets)
    for row, other in zip(*(t.split(max(1, NUMBERS // size)) for t in (rows, others)), strict=True):
        base = row.repeat_interleave(len(sets), 0)
        new = torch.where(sets.repeat(len(row), 1), other.repeat_interleave(len(sets), 0), base)
        for k, (a, b) in enumerate(zip(*operands(base, new), strict=True)):
            differs = ~same(by_row[k](a), by_row[k](b))
            changed[k] = changed[k] | differs.view(len(row), len(sets), -1).any(0)

    sites = []
    for product, layout, seen in zip(run.products, by_row, changed, strict=True):
        column = spelled(seen.cpu().numpy())
        if column is None:
            raise UnsupportedModelError(
                f"What reaches {_name(module, run, product)} mixes columns without weights, as normalisation or a mean "
                f"over columns does, so its weights belong to no single column; {REMEDY}."
            )
        sites.append(_Site(product, layout, column))
    return sites


def _others(rows: Tensor, with_constant: bool) -> Tensor:
    """For each number another one of its column; where a column does not vary, 0 or 1 if that is wanted."""
    others = torch.where(rows == 0, torch.ones_like(rows), torch.zeros_like(rows)) if with_constant else rows.clone()
    for k in range(len(rows) - 1, 0, -1):
        rolled = rows.roll(k, 0)
        others = torch.where(same(rolled, rows), others, rolled)
    return others


def _by_row(operand: Tensor, axis: int, per_row: int, rows_first: bool = True) -> Tensor:
    """The numbers of each row, ``(n, n_numbers)``, where an axis runs over the rows, and maybe something else."""
    t = operand.movedim(axis, 0)
    n = len(t) // per_row
    t = t.reshape(n, per_row, -1) if rows_first else t.reshape(per_row, n, -1).transpose(0, 1)
    return t.reshape(n, -1)


def _layout(two: Tensor, three: Tensor, middle: Tensor) -> Callable[[Tensor], Tensor]:
    """Where an operand has its rows: from operands of two and of three equal rows, and with the second changed."""
    axes = [k for k, (a, b) in enumerate(zip(two.shape, three.shape, strict=True)) if a != b]
    if len(axes) == 1 and 3 * two.shape[axes[0]] == 2 * three.shape[axes[0]]:
        for rows_first in (True, False):
            by_row = partial(_by_row, axis=axes[0], per_row=two.shape[axes[0]] // 2, rows_first=rows_first)
            if same(by_row(three), by_row(middle))[::2].all():
                return by_row
    raise UnsupportedModelError(
        f"What reaches a layer depends on more than one row, so it cannot be seen which weights are whose; {REMEDY}."
    )


# --- weights


def _reader(weights: Weights, run: FirstProducts) -> Callable[[], NDArray]:
    """A function that reads the weights as they are then."""
    recipe = run.recipe(weights)
    if recipe is None and weights.part is None and not weights.flat:
        return _Parameter(weights.tensor)
    part = slice(*weights.part) if weights.part else slice(None)
    shape = (-1,) if weights.flat else (-1, *weights.tensor.shape[1:])
    return lambda: _array(weights.tensor if recipe is None else recipe())[part].reshape(shape)


class _Parameter:
    """Reads a parameter; while it stays where it is, at the cost of asking where it is."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.address: int | None = None

    def __call__(self) -> NDArray:
        if self.address is None or self.parameter.data_ptr() != self.address:
            self.values = _array(self.parameter)
            shared = self.parameter.is_cpu and self.parameter.dtype is not torch.bfloat16
            self.address = self.parameter.data_ptr() if shared else None
        return self.values


def _array(weight: Tensor) -> NDArray:
    values = weight.detach()
    return (values.float() if values.dtype is torch.bfloat16 else values).cpu().numpy()


def _name(module: nn.Module, run: FirstProducts, product: Product) -> str:
    sources = {id(t) for weights in product.weights for t in run.sources(weights)}
    return next((repr(name) for name, p in module.named_parameters() if id(p) in sources), "a layer")


def _no_layer(module: nn.Module) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"No layer with weights takes the columns of this {type(module).__name__}, so its training tells nothing about "
        f"them; {REMEDY}."
    )


@contextmanager
def _as_written(module: nn.Module) -> Iterator[None]:
    """In evaluation mode, not compiled, and without a trace."""
    with untouched(module):
        for part in module.modules():
            if "_compiled_call_impl" in vars(part):
                vars(part)["_compiled_call_impl"] = None
            if "_orig_mod" in part._modules:
                vars(part)["forward"] = part._modules["_orig_mod"]
        yield
