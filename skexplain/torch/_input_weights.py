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
from torch.utils._pytree import tree_map

from ..exceptions import UnsupportedModelError
from ..training._input_weights import (
    NUMBERS,
    InputWeights,
    Kernel,
    looked_at,
    made_up,
    spread_index,
    spread_of_columns,
    trace,
)
from ..training._moments import Moments
from ._first_products import REMEDY, FirstProducts, Product, Weights, first_products, same
from ._untouched import as_tensor, cuda_devices, untouched

#: Rows on which it is seen what the module does.
ROWS = 16
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: Added to numbers to see what is made of them.
SHIFT = 8.0
#: Steps of a sequence, and pixels of an edge, of rows made up for a module that does not say what rows it takes.
STEPS, EDGE = 4, 32


def find(module: nn.Module, X: NDArray | None = None) -> InputWeights:
    """Find the weights that a module puts on its input columns.

    Parameters
    ----------
    module : Module
        Compiled or not, in either mode, on any device.
    X : ndarray of shape (n, *features), optional
        Rows it takes; up to 1000 are looked at. A number that does not differ in them, as the place of a code that
        does not occur, is no column's. Without them rows are made up after the module's layers, and the columns of
        sequences and images are their features and channels.

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
    looked_up : bool ndarray of shape (n_numbers,), optional
        Which are made of what an embedding has for a code.
    """

    product: Product
    by_row: Callable[[Tensor], Tensor]
    column: NDArray
    looked_up: NDArray | None = None

    def inputs(self, weights: Weights) -> NDArray:
        """Which of the weights' inputs each number is, ``(n_numbers,)``; -1 for none."""
        inputs = self.by_row(weights.inputs.expand(self.product.operand.shape))
        if not (inputs == inputs[:1]).all():
            raise UnsupportedModelError(f"A layer takes the rows for its channels; {REMEDY}.")
        return inputs[0].cpu().numpy()


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
            inputs = site.inputs(weights)
            known = (site.column >= 0) & (inputs >= 0)
            pair = np.stack([merged[site.column[known]], inputs[known]])
            met.setdefault(found.run.key(weights), (weights, []))[1].append(pair)
    kernels = []
    for weights, pairs in met.values():
        columns, inputs = np.unique(np.concatenate(pairs, axis=1), axis=1)
        if len(columns):
            read = _reader(module, weights, found.run)
            kernels.append(Kernel(read, read().shape, weights.axis, columns, inputs))
    if not kernels:
        raise _no_layer(module)
    return InputWeights(tuple(kernels), int(merged[-1]) + 1, partial(_spread, module, channel))


def _spread(module: nn.Module, channel: int | None, X: NDArray) -> NDArray:
    """Standard deviation with which each column reaches its layers; see `InputWeights`."""
    X = np.asarray(X)
    with _as_written(module):
        found = _found(module, X)
        moments = [Moments(len(site.column)) for site in found.sites]
        size = max(found.n_columns, *(len(site.column) for site in found.sites))
        for rows in np.array_split(X, ceil(len(X) / max(2, NUMBERS // size))):
            run = first_products(
                module, found.tensor(_at_least_two(rows)), stop_after=len(found.sites), batch_statistics=True
            )
            for moment, site, product in zip(moments, found.sites, run.products, strict=True):
                moment.add(site.by_row(product.operand)[: len(rows)].double().cpu().numpy())
    merged = _channels(found, channel)
    kernels: dict[Any, list[tuple[Moments, NDArray, NDArray]]] = {}
    codes = np.zeros(merged[-1] + 1, dtype=bool)
    for moment, site in zip(moments, found.sites, strict=True):
        columns = np.where(site.column >= 0, merged[site.column], -1)
        if site.looked_up is not None:
            codes[columns[site.looked_up & (columns >= 0) & (moment.variance > 0)]] = True
            columns = np.where(site.looked_up, -1, columns)
        for weights in site.product.weights:
            kernels.setdefault(found.run.key(weights), []).append((moment, columns, site.inputs(weights)))
    spread = spread_of_columns(list(kernels.values()), len(codes))
    return np.where(codes & (spread == 0), np.nan, spread)


def _channels(found: _Found, axis: int | None) -> NDArray:
    """Of each column the index along an axis of the rows; its own without one."""
    features = found.run.x.shape[1:]
    columns = np.arange(prod(features))
    return columns if axis is None else np.unravel_index(columns, features)[axis]


# --- rows


def _found(module: nn.Module, X: NDArray) -> _Found:
    """What rows show."""
    try:
        return _shown(module, _at_least_two(X[spread_index(len(X), ROWS)]), looked_at(X))
    except UnsupportedModelError:
        raise
    except Exception as exc:  # whatever the module raises
        raise UnsupportedModelError(
            f"This {type(module).__name__} does not run on rows of shape {X.shape[1:]} and type {X.dtype}: {exc}"
        ) from exc


def _shown(module: nn.Module, rows: NDArray, known: NDArray | None) -> _Found:
    """What a run on rows shows, and changes of ``known`` rows, if any; raises what the module raises."""
    anchor = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))

    def as_numbers(X: NDArray) -> Tensor:
        return as_tensor(X).to(anchor.device, anchor.dtype)

    def as_codes(X: NDArray) -> Tensor:
        return as_tensor(X).to(anchor.device)

    def run_on(rows: NDArray) -> FirstProducts:
        with torch.random.fork_rng(devices=cuda_devices(module)):  # each time the same draws
            return first_products(module, tensor(rows))

    tensor = as_codes if rows.dtype.kind in "iub" else as_numbers
    try:
        run = run_on(rows)
    except (RuntimeError, TypeError, ValueError):  # layers that take no codes
        if tensor is as_numbers:
            raise
        tensor = as_numbers
        run = run_on(rows)
    _check_beside(run, run_on(np.roll(rows, 1, axis=0)))
    if not run.products:
        raise _no_layer(module)
    return _Found(run, _sites(module, tensor, rows, known, run), tensor)


def _check_beside(run: FirstProducts, other: FirstProducts) -> None:
    """What weights meet beside the input is the same for other rows."""
    if len(run.beside) != len(other.beside) or not all(
        a.shape == b.shape and same(a, b).all() for a, b in zip(run.beside, other.beside, strict=True)
    ):
        raise UnsupportedModelError(
            "The module computes from its input what is not seen, as in a scripted function, and puts weights on it; "
            f"{REMEDY}."
        )


def _without_rows(module: nn.Module) -> InputWeights:
    """The same from rows made up after a layer, if that layer then is among those that take the columns."""
    if all(parameter.ndim < 2 for parameter in module.parameters()):
        raise _no_layer(module)
    reason = _rows_needed(module)
    if any(isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in module.modules()):
        raise reason  # any number of columns may be codes
    results: dict[tuple[int, ...], InputWeights] = {}
    for layer in module.modules():
        features, channel = _features(layer)
        if features is None or features in results:
            continue
        rows = np.stack([np.zeros(features, dtype=int), np.ones(features, dtype=int)])
        try:
            found = _shown(module, rows, None)
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


def _rows_needed(module: nn.Module) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"This {type(module).__name__} does not say what rows it takes; give it a few, as in "
        "VarianceImportanceTorch(model, X=X) or on_train_begin(model, X)."
    )


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


def _sites(
    module: nn.Module, tensor: Callable[[NDArray], Tensor], rows: NDArray, known: NDArray | None, run: FirstProducts
) -> list[_Site]:
    """The columns of each product's numbers."""
    n_columns = prod(rows.shape[1:])
    if all(product.ordered for product in run.products):
        columns = np.arange(n_columns)
        return [_Site(product, partial(_by_row, axis=0, per_row=1), columns) for product in run.products]
    if known is None:
        on_cpu = run.x.device.type == "cpu"  # an index that is too large ends the work of other devices
        attempts = [(some, True) for some in made_up(n_columns, careful=not on_cpu)]
    else:
        attempts = [(known, True), (known, False)]  # what is made up for a column that does not vary may be no code
    error: Exception | None = None
    for some, with_constant in attempts:
        trial = _Trial(module, tensor, rows.shape[1:], run)
        some = some.astype(rows.dtype) if run.x.dtype not in FLOATS else some
        try:
            return trial.sites(some, with_constant, made_up=known is None)
        except UnsupportedModelError:
            raise
        except Exception as exc:
            error = exc
    raise UnsupportedModelError(
        f"This {type(module).__name__} does not run on rows whose columns are taken from different rows ({error}), so "
        f"it cannot be seen which weights are whose; {REMEDY}."
    ) from error


class _Trial:
    """Runs of a module on rows that differ, to see which of the numbers that reach its products do.

    Parameters
    ----------
    module : Module
    tensor : callable
        From rows to what the module takes.
    features : tuple of int
    run : FirstProducts
    """

    def __init__(
        self, module: nn.Module, tensor: Callable[[NDArray], Tensor], features: tuple[int, ...], run: FirstProducts
    ) -> None:
        self.module, self.tensor, self.features, self.run = module, tensor, features, run

    def sites(self, rows: NDArray, with_constant: bool, *, made_up: bool) -> list[_Site]:
        """See `_Site`; ``made_up`` are rows whose numbers need not occur."""
        first, other = rows[:1], np.concatenate([rows[1:], rows])[:1]
        (two,) = self.operands(np.repeat(first, 2, axis=0))
        three, middle = self.operands(np.repeat(first, 3, axis=0), np.concatenate([first, other, first]))
        self.by_row = [_layout(*versions) for versions in zip(two, three, middle, strict=True)]
        per_row = max(t.numel() // 2 for t in two)
        wanted = [~np.any(constant, axis=0) for constant in self._constants(first)] if made_up else None
        traced = trace(self.differ, rows, per_row, wanted=wanted, with_constant=with_constant)
        looked_up = self._moved(first, code=SHIFT) if self.run.looks_up else [None] * len(traced)
        sites = []
        for product, layout, t, codes in zip(self.run.products, self.by_row, traced, looked_up, strict=True):
            if made_up and t.column is not None and t.unseen.any():
                raise _rows_needed(self.module)
            if t.column is None or t.unseen.any():
                raise UnsupportedModelError(
                    f"What reaches {_name(self.module, self.run, product)} mixes columns without weights, as "
                    "normalisation or a mean over columns does, so its weights belong to no single column; "
                    f"{REMEDY}."
                )
            sites.append(_Site(product, layout, t.column, codes))
        return sites

    def operands(self, *versions: NDArray) -> list[list[Tensor]]:
        """Of each version of some rows the products' operands; results of products stay those of the first."""
        found: list[list[Tensor]] = []
        results = None
        for rows in versions:
            seen = self._see(rows, results)
            found.append([product.operand for product in seen.products])
            results = seen.results
        return found

    def _see(self, rows: NDArray, results: list[Any] | None, **changes: Any) -> FirstProducts:
        x, n = self.tensor(rows).view(-1, *self.features), len(self.run.products)
        seen = first_products(self.module, x, made_up=True, results=results, stop_after=n, **changes)
        if len(seen.products) != n:
            raise UnsupportedModelError(f"Which layers are called depends on the values of the rows; {REMEDY}.")
        return seen

    def differ(self, base: NDArray, new: NDArray) -> list[NDArray]:
        """Where the numbers of each row differ, ``(n, n_numbers)`` of each product."""
        both = self.operands(_at_least_two(base), _at_least_two(new))
        return [(~same(by(a), by(b)))[: len(base)].cpu().numpy() for by, a, b in zip(self.by_row, *both, strict=True)]

    def _moved(self, row: NDArray, shift: float = 0.0, **changes: Any) -> list[NDArray]:
        """Numbers of a row that change with what else they are made of: results of products, padding, codes."""
        rows = np.repeat(row, 2, axis=0)
        base = self._see(rows, None)
        results = [
            tree_map(lambda t: t + shift if isinstance(t, Tensor) and t.is_floating_point() else t, result)
            for result in base.results
        ]
        pairs = zip(self.by_row, base.products, self._see(rows, results, **changes).products, strict=True)
        return [(~same(by(a.operand), by(b.operand)))[0].cpu().numpy() for by, a, b in pairs]

    def _constants(self, row: NDArray) -> Iterator[list[NDArray]]:
        """Of each product what changes with padding, or with results of other products, up or down."""
        moved = [self._moved(row, sign * SHIFT, padding=sign * SHIFT) for sign in (1, -1)]
        yield from (list(numbers) for numbers in zip(*moved, strict=True))


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


def _reader(module: nn.Module, weights: Weights, run: FirstProducts) -> Callable[[], NDArray]:
    """A function that reads the weights as they are then."""
    recipe = run.recipe(weights)
    if recipe is None:
        parameter = _Parameter(module, weights.tensor)
        if weights.part is None and not weights.flat:
            return parameter
    sources = [] if recipe is None else [_Parameter(module, t) for t in recipe.sources if isinstance(t, nn.Parameter)]
    part = slice(*weights.part) if weights.part else slice(None)
    shape = (-1,) if weights.flat else (-1, *weights.tensor.shape[1:])

    def read() -> NDArray:
        for source in sources:
            source.check()
        return (parameter() if recipe is None else _array(recipe()))[part].reshape(shape)

    return read


class _Parameter:
    """Reads a parameter of a module, also one that is put in its place.

    While it stays where it is, that costs no more than asking where it is.
    """

    def __init__(self, module: nn.Module, parameter: Tensor) -> None:
        self.module, self.parameter = module, parameter
        self.name = next((name for name, p in module.named_parameters() if p is parameter), None)
        *self.path, self.last = self.name.split(".") if self.name else [""]
        self.address: int | None = None

    def __call__(self) -> NDArray:
        parameter = self.now()
        if parameter is not self.parameter or self.address is None or parameter.data_ptr() != self.address:
            if parameter.shape != self.parameter.shape:
                raise self._gone()
            self.parameter = parameter
            self.values = _array(parameter)
            shared = parameter.is_cpu and parameter.dtype is not torch.bfloat16
            self.address = parameter.data_ptr() if shared else None
        return self.values

    def now(self) -> Tensor:
        """The parameter, or what stands in its place by now."""
        if self.name is None:
            return self.parameter
        owner = self.module
        try:
            for part in self.path:
                owner = owner._modules[part]  # type: ignore[assignment]
            found = owner._parameters.get(self.last)
            return getattr(owner, self.last) if found is None else found  # pruned, or parametrized
        except (AttributeError, KeyError):
            raise self._gone() from None

    def check(self) -> None:
        """Other weights are computed from it, in a way that is known of this one only."""
        if self.now() is not self.parameter:
            raise self._gone()

    def _gone(self) -> ValueError:
        return ValueError(
            f"The module's parameter {self.name!r} was replaced by another while its training was watched; change what "
            "is in it instead (parameter.data = ...), or begin a new training with on_train_begin()."
        )


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
