"""A module behind its look-ups: a function of what embeddings return, where there are slopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._embedded import Trial, columns_looked_up
from ..exceptions import UnsupportedModelError

#: Functions that look codes up, and which of their arguments are the table and the codes.
LOOK_UPS: dict[Any, tuple[int | None, int, str]] = {
    F.embedding: (1, 0, "input"),
    torch.embedding: (0, 1, "indices"),
    F.one_hot: (None, 0, "input"),
    Tensor.__getitem__: (0, 1, ""),
}


class Call(NamedTuple):
    """One call of a look-up.

    Attributes
    ----------
    codes : Tensor of shape (n, *places)
    result : Tensor of shape (n, *places, *numbers)
    """

    codes: Tensor
    result: Tensor


class Replaced(NamedTuple):
    """Which places of a look-up's result are replaced.

    Attributes
    ----------
    places, others : LongTensor
        Flat: those that are replaced, and those that are not.
    order : LongTensor
        Where each place stands once those that are replaced come first.
    """

    places: Tensor
    others: Tensor
    order: Tensor


class LookUps(TorchFunctionMode):
    """Sees every look-up of a run, whatever module it is called by, and gives other results in the places named.

    Parameters
    ----------
    replaced : sequence of Replaced or None
        For each look-up, in order.
    blocks : Tensor of shape (n, p)
        The numbers that are given, one look-up after the other.

    Attributes
    ----------
    calls : list of Call
    """

    def __init__(self, replaced: Sequence[Replaced | None] = (), blocks: Tensor | None = None) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._replaced, self._blocks, self._start = replaced, blocks, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        index = _codes(func, args, kwargs or {})
        if index is None or not isinstance(result, Tensor) or result.shape[: index.ndim] != index.shape:
            return result
        self.calls.append(Call(index, result))
        k = len(self.calls) - 1
        replaced = self._replaced[k] if k < len(self._replaced) else None
        return result if replaced is None else self._with_blocks(result, index, replaced)

    def _with_blocks(self, result: Tensor, index: Tensor, replaced: Replaced) -> Tensor:
        assert self._blocks is not None
        n, places = len(index), index[0].numel()
        width = result[0].numel() // places
        stop = self._start + len(replaced.places) * width
        block = self._blocks[:, self._start : stop]
        self._start = stop
        if len(replaced.places) < places:
            own = result.detach().to(block.dtype).reshape(n, places, width).index_select(1, replaced.others)
            whole = torch.cat([block.reshape(n, -1, width), own], 1)
            block = whole.index_select(1, replaced.order)
        return block.reshape(result.shape)


def _codes(func: Any, args: tuple, kwargs: dict) -> Tensor | None:
    """The codes that a call looks up, one set for each row; None if it looks up nothing."""
    if func not in LOOK_UPS:
        return None
    table, place, name = LOOK_UPS[func]
    index = args[place] if len(args) > place else kwargs.get(name)
    if isinstance(index, tuple) and all(isinstance(i, slice) and i == slice(None) for i in index[1:]):
        index = next(iter(index), None)  # ``table[codes, :]``
    if not isinstance(index, Tensor) or index.ndim < 1 or index.dtype in (torch.bool, torch.uint8):
        return None
    if index.is_floating_point() or index.is_complex():
        return None
    looked_into = args[table] if table is not None and len(args) > table else None
    if func is Tensor.__getitem__ and not (isinstance(looked_into, Tensor) and looked_into.is_floating_point()):
        return None
    return index


class BehindLookUps(nn.Module):
    """A module as a function of embedded rows.

    Parameters
    ----------
    module : nn.Module
        Not changed.
    template : Tensor of shape features
        A row for the columns that are looked up and matter in no other way.
    numbers : ndarray of int
        Flat columns that stand, as they are, at the front of embedded rows.
    owners : list of ndarray
        For each look-up and each of its places, the column that it depends on; negative for none, or several.
    """

    def __init__(self, module: nn.Module, template: Tensor, numbers: NDArray, owners: Sequence[NDArray]) -> None:
        super().__init__()
        self.module, self.template = module, template
        self.numbers = torch.as_tensor(numbers, device=template.device)
        fixed = np.setdiff1d(np.arange(template.numel()), numbers)
        self.fixed = torch.as_tensor(fixed, device=template.device)
        self.order = torch.as_tensor(np.argsort(np.concatenate([numbers, fixed])), device=template.device)
        self.replaced = [_replaced(columns, template.device) for columns in owners]
        self._owners = owners

    def forward(self, z: Tensor) -> Any:
        n, k = len(z), len(self.numbers)
        flat = self.template.reshape(1, -1).expand(n, -1)
        if k == flat.shape[1]:
            flat = z[:, :k]
        elif k:
            flat = torch.cat([z[:, :k], flat.index_select(1, self.fixed)], 1).index_select(1, self.order)
        with LookUps(self.replaced, z[:, k:]):
            return self.module(flat.reshape(n, *self.template.shape))

    def embed(self, x: Tensor) -> Tensor:
        """Embedded rows, from rows as the module reads them."""
        return torch.cat([part for part, _ in self._parts(x)], 1)

    @cached_property
    def owners(self) -> NDArray:
        """The flat column that each number of an embedded row comes from."""
        return np.concatenate([columns for _, columns in self._parts(self.template[None])])

    def _parts(self, x: Tensor) -> Iterator[tuple[Tensor, NDArray]]:
        """Numbers of embedded rows, and the columns that they come from."""
        yield x.flatten(1).index_select(1, self.numbers), self.numbers.cpu().numpy()
        calls = _run(self.module, x)
        if [c.codes[0].numel() for c in calls] != [len(columns) for columns in self._owners]:
            raise UnsupportedModelError(
                "What the module looks up, and how often, depends on the rows that it is given at once. Use a strategy "
                "without gradients, such as attribution='permutation'."
            )
        for call, replaced, owners in zip(calls, self.replaced, self._owners, strict=True):
            if replaced is not None:
                result = call.result.to(x.dtype).reshape(len(x), len(owners), -1).index_select(1, replaced.places)
                yield result.flatten(1), np.repeat(owners[owners >= 0], result.shape[2])


def _replaced(columns: NDArray, device: torch.device) -> Replaced | None:
    places, others = np.flatnonzero(columns >= 0), np.flatnonzero(columns < 0)
    order = np.argsort(np.concatenate([places, others]))
    made = (torch.as_tensor(v, device=device) for v in (places, others, order))
    return Replaced(*made) if len(places) else None


def behind_look_ups(module: nn.Module, tries: Sequence[Trial], rows: Sequence[Tensor]) -> list[BehindLookUps]:
    """The module behind its look-ups of single columns: as if it read these in no other way, and as if it did.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode.
    tries : sequence of Trial
    rows : sequence of Tensor
        Rows of each trial as the module reads them.

    Returns
    -------
    list of BehindLookUps
        None, if the module has no such look-ups.
    """
    owners = columns_looked_up([[call.codes.cpu().numpy() for call in _run(module, x)] for x in rows], tries)
    if owners is None:
        return []
    columns = np.unique(np.concatenate([c[c >= 0] for c in owners]))
    every = np.arange(rows[0][0].numel())
    return [BehindLookUps(module, rows[0][0], numbers, owners) for numbers in (np.setdiff1d(every, columns), every)]


def looks_up(module: nn.Module, x: Tensor) -> bool:
    """Whether the module looks anything up for rows."""
    return bool(_run(module, x))


def _run(module: nn.Module, x: Tensor) -> list[Call]:
    with LookUps() as seen:
        module(x)
    return seen.calls
