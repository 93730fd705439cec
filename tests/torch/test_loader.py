"""Batches by slicing are the batches of a DataLoader."""

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from skexplain.torch._loader import ArrayDataset, TensorBatches

X, y, w = np.arange(20.0).reshape(10, 2), np.arange(10), np.arange(10) + 1.0


@pytest.mark.parametrize("rows", [None, [7, 1, 3, 2]])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_row_once(rows, shuffle):
    data = ArrayDataset(X, y, w)
    source = data if rows is None else Subset(data, rows)
    batches = list(TensorBatches(source, 3, shuffle=shuffle))
    got = torch.cat([b[1] for b in batches]).tolist()
    want = list(range(10)) if rows is None else rows
    assert (sorted(got) if shuffle else got) == (sorted(want) if shuffle else want)
    for batch in batches:
        np.testing.assert_array_equal(batch[0][:, 0], 2 * batch[1])
        np.testing.assert_array_equal(batch.weight, batch[1] + 1)


def test_nested_subsets():
    source = Subset(Subset(ArrayDataset(X, y), [9, 8, 7]), [2, 0])
    assert next(iter(TensorBatches(source, 5)))[1].tolist() == [7, 9]


@pytest.mark.parametrize(
    ("size", "drop_last", "lengths"),
    [(3, False, [3, 3, 4]), (3, True, [3, 3, 3]), (4, False, [4, 4, 2]), (20, True, [10]), (5, False, [5, 5])],
)
def test_sizes(size, drop_last, lengths):
    """No batch of one row, on which batch normalisation cannot train."""
    batches = TensorBatches(ArrayDataset(X, y), size, drop_last=drop_last)
    assert [len(b[0]) for b in batches] == lengths
    assert len(batches) == len(lengths)
