"""From weights to columns."""

import numpy as np
import pytest

from skexplain.exceptions import UnsupportedModelError
from skexplain.training import _input_weights
from skexplain.training._input_weights import InputWeights, Kernel, input_weights, spelled, switches, trace

RNG = np.random.default_rng(0)


def dense(shape, axis):
    n = shape[axis]
    return Kernel(
        lambda: np.arange(np.prod(shape), dtype=float).reshape(shape), shape, axis, np.arange(n), np.arange(n)
    )


def layout(*kernels, n_columns):
    return InputWeights(kernels, n_columns, lambda X: X.std(axis=0))


def test_the_two_orientations():
    values = RNG.normal(size=(3, 5))
    assert np.allclose(layout(dense((3, 5), 0), n_columns=3).per_column(values.ravel()), values.sum(axis=1))
    assert np.allclose(layout(dense((5, 3), 1), n_columns=3).per_column(values.T.ravel()), values.sum(axis=1))
    assert np.allclose(layout(dense((5, 3), -1), n_columns=3).by_column(values.T.reshape(1, -1)), values)


def test_a_channel_belongs_to_all_of_its_steps():
    # 4 steps of 2 channels, a convolution of width 3 with 5 filters, channels before the filters
    kernel = Kernel(lambda: np.zeros((3, 2, 5)), (3, 2, 5), -2, np.arange(8), np.tile([0, 1], 4))
    values = RNG.normal(size=(3, 2, 5))
    got = layout(kernel, n_columns=8).per_column(values.ravel())
    assert np.allclose(got, np.tile(values.sum(axis=(0, 2)), 4))


def test_inputs_of_one_column_are_summed():
    # column 1 is embedded in two inputs, column 0 is a number
    kernel = Kernel(lambda: np.zeros((3, 4)), (3, 4), 0, np.array([1, 1, 0]), np.array([0, 1, 2]))
    values = RNG.normal(size=(3, 4))
    found = layout(kernel, n_columns=2)
    assert np.allclose(found.per_column(values.ravel()), [values[2].sum(), values[:2].sum()])
    by_column = found.by_column(values.reshape(1, -1))
    assert by_column.shape == (1, 2, 8)
    assert np.allclose(by_column[0, 1], values[:2].ravel())
    assert np.allclose(by_column[0, 0, :4], values[2])
    assert np.isnan(by_column[0, 0, 4:]).all()


def test_several_layers_count_together():
    a, b = RNG.normal(size=(3, 2)), RNG.normal(size=(4, 3))
    found = layout(dense((3, 2), 0), dense((4, 3), 1), n_columns=3)
    flat = np.concatenate([a.ravel(), b.ravel()])
    assert np.allclose(found.per_column(flat), a.sum(axis=1) + b.sum(axis=0))
    assert np.allclose(found.by_column(flat[None])[0], np.hstack([a, b.T]))
    assert found.size == 18


def test_columns_without_weights_get_nothing():
    kernel = Kernel(lambda: np.ones((2, 3)), (2, 3), 0, np.array([0, 2]), np.array([0, 1]))
    assert layout(kernel, n_columns=4).per_column(np.ones(6)).tolist() == [3, 0, 3, 0]


def test_reading_puts_one_kernel_after_the_other():
    found = layout(dense((3, 2), 0), dense((2, 2), 0), n_columns=3)
    out = np.empty(10)
    found.read_into(out)
    assert out.tolist() == [*range(6), *range(4)]


def test_only_networks_can_be_watched():
    with pytest.raises(UnsupportedModelError, match="A list is no network whose training can be watched"):
        input_weights([])


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_what_changes_spells_the_column(n):
    sets = switches(n)
    numbers = np.arange(n)[::-1]  # each comes from one column
    assert spelled(sets[:, numbers]).tolist() == numbers.tolist()
    assert spelled(np.zeros((len(sets), 2), dtype=bool)).tolist() == [-1, -1]


@pytest.mark.parametrize("columns", [(0, 1), (1, 2), (0, 3), (0, 1, 2, 3)])
def test_a_number_of_several_columns_is_seen(columns):
    assert spelled(switches(4)[:, list(columns)].any(axis=1, keepdims=True)) is None


def differs(function):
    return lambda base, new: [function(base) != function(new)]


@pytest.mark.parametrize("n", [1, 2, 40, 700])
def test_every_value_is_tried(n):
    rows = np.column_stack([RNG.permutation(n), RNG.normal(size=n), np.full(n, 3.0)])
    (traced,) = trace(differs(lambda X: np.hstack([X[:, :1] == np.arange(n), X[:, 1:]])), rows, n + 2)
    assert not traced.unseen.any()
    assert traced.column.tolist() == [0] * n + [1, 2]


def test_one_value_among_many_others():
    rows = RNG.normal(size=(1000, 3))
    rows[[5, 700], 1] = np.nan
    (traced,) = trace(differs(lambda X: np.hstack([X[:, :1] == rows[321, 0], np.isnan(X[:, 1:])])), rows, 3)
    assert traced.column.tolist() == [0, 1, -1]


def test_what_only_several_columns_change_is_unseen():
    rows = np.tile([[0.0, 0.0], [1.0, 1.0]], (20, 1))
    (traced,) = trace(differs(lambda X: (X.sum(axis=1, keepdims=True) > 1) & (X[:, :1] == X[:, 1:])), rows, 1)
    assert traced.column is None or traced.unseen.all()


def test_rows_are_run_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(_input_weights, "NUMBERS", 12)
    sizes = []

    def function(X):
        sizes.append(len(X))
        return np.hstack([X[:, ::-1], X[:, :1] > 2.5])

    (traced,) = trace(differs(function), RNG.normal(size=(900, 3)), 4)
    assert traced.column.tolist() == [2, 1, 0, 0]
    assert max(sizes) == 3


def test_weights_that_many_columns_share_are_not_copied_for_each():
    kernel = Kernel(lambda: np.zeros((3, 64, 7)), (3, 64, 7), 0, np.arange(30000), np.arange(30000) % 3)
    found = layout(kernel, n_columns=30000)
    samples = np.zeros((6, found.size), np.float32)
    with pytest.raises(ValueError, match=r"30000 columns would take 0\.3 GB.*std\(\)"):
        found.by_column(samples)
    assert found.by_column(samples[:1]).shape == (1, 30000, 448)
