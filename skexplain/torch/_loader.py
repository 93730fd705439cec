"""In-memory batches: slices of tensors instead of rows collated one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.dataset import Dataset
from torch.utils.data import Subset

from ._untouched import as_tensor


class ArrayDataset(Dataset):
    """skorch's dataset of two arrays, with the weights of the rows."""

    def __init__(self, X: NDArray, y: NDArray, weight: NDArray | None = None) -> None:
        super().__init__(X, y)
        self.weight = weight


class Batch(tuple):
    """The pair ``(X, y)``, with the rows' weights or None as attribute."""

    weight: torch.Tensor | None = None


class TensorBatches:
    """Iterate over batches of an `ArrayDataset` or a subset of one.

    Parameters
    ----------
    dataset : ArrayDataset or Subset
    batch_size : int
    shuffle : bool
        A new order each epoch, from torch's generator.
    drop_last : bool
        Leave out the last batch when it is not full.
    device : str or torch.device
    """

    def __init__(
        self, dataset: Any, batch_size: int, *, shuffle: bool = False, drop_last: bool = False, device: Any = "cpu"
    ) -> None:
        source, rows = source_rows(dataset)
        take = (lambda v: v) if rows is None else (lambda v: v[rows])
        self.X = as_tensor(take(source.X)).to(device)
        self.y = as_tensor(take(source.y)).to(device)
        weight = source.weight
        self.weight = None if weight is None else as_tensor(take(weight)).to(device, self.dtype)
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last

    @property
    def dtype(self) -> torch.dtype:
        return self.X.dtype if self.X.is_floating_point() else torch.get_default_dtype()

    def __len__(self) -> int:
        return len(self._bounds())

    def __iter__(self) -> Iterator[Batch]:
        parts = [v for v in (self.X, self.y, self.weight) if v is not None]
        for some in self._some_rows(parts):
            batch = Batch(some[:2])
            if self.weight is not None:
                batch.weight = some[2]
            yield batch

    def _some_rows(self, parts: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
        """Rows of the batches, one after another."""
        if not self.shuffle:
            yield from ([v[start:stop] for v in parts] for start, stop in self._bounds())
            return
        order = torch.randperm(len(self.X)).to(self.X.device)
        sizes = self.sizes()
        for rows in order[: sum(sizes)].split(sizes):
            yield [v.index_select(0, rows) for v in parts]

    def sizes(self) -> list[int]:
        """Numbers of rows of the batches."""
        return [stop - start for start, stop in self._bounds()]

    def _bounds(self) -> list[tuple[int, int]]:
        n, size = len(self.X), self.batch_size
        stops = [*range(size, n, size), n]
        if len(stops) > 1 and self.drop_last and n % size:
            stops.pop()
        elif len(stops) > 1 and n % size == 1:
            # batch normalisation cannot train on a single row
            del stops[-2]
        return list(zip([0, *stops[:-1]], stops, strict=True))


def slices(X: NDArray, size: int) -> Iterator[torch.Tensor]:
    """Consecutive rows as tensors; all become one at first, where that copies nothing."""
    rows: Any = as_tensor(X) if X.flags.c_contiguous else X
    for start in range(0, len(X), size):
        part = rows[start : start + size]
        yield part if isinstance(part, torch.Tensor) else as_tensor(part)


def source_rows(dataset: Any) -> tuple[Any, NDArray | None]:
    """The dataset that a (nested) subset selects from, and the rows selected; None for all."""
    rows: NDArray | None = None
    while isinstance(dataset, Subset):
        indices = np.asarray(dataset.indices)
        rows = indices if rows is None else indices[rows]
        dataset = dataset.dataset
    return dataset, rows


def in_memory(dataset: Any) -> bool:
    """Whether the dataset is, or selects rows of, one that `TensorBatches` can slice."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return isinstance(dataset, ArrayDataset)
