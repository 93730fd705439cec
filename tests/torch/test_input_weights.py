"""Which weights of a module belong to which column, against what one sees by reading the module."""

import random
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.prune import l1_unstructured

from skexplain.exceptions import UnsupportedModelError
from skexplain.torch import MLP
from skexplain.torch._input_weights import find

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4)).astype(np.float32)
STEPS = RNG.normal(size=(12, 5, 3)).astype(np.float32)
CODES = np.column_stack([RNG.integers(0, 3, 20), X[:, 1:]]).astype(np.float32)


class Own(nn.Module):
    """A forward as a function of the rows and the layers, which are registered in the order given."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        for name, layer in zip("abcd", layers, strict=False):
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(x, *self.children())


class Gated(nn.Module):
    """A weight of its own for each column and dimension, as transformers for tables have."""

    def __init__(self):
        super().__init__()
        self.tokens, self.out = nn.Parameter(torch.randn(4, 3)), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.relu(x[:, :, None] * self.tokens).mean(1))


def cells(x, cell, out):
    h = torch.zeros(len(x), 2)
    for t in range(x.shape[1]):
        h = cell(x[:, t], h)
    return out(h)


def swapped(x, out):
    x[:, [0, 1]] = x[:, [1, 0]]
    return out(x)


def in_a_buffer(x, out):
    z = x.new_zeros(len(x), 3)
    z[:, 0], z[:, 1] = x[:, 2], x[:, 1] * 3
    z[:, 2].copy_(x[:, 0])
    return out(z)


def pairs(*inputs):
    """Each column and its inputs."""
    return {(j, k) for j, ks in enumerate(inputs) for k in ([ks] if isinstance(ks, int) else ks)}


EACH = pairs(0, 1, 2, 3)
#: Of 5 steps of 3 features.
AT_EACH_STEP = {(3 * t + k, k) for t in range(5) for k in range(3)}

# Module, rows, and by name of the weight: its axis of inputs, and which columns are which inputs.
CASES = {
    "default": (lambda: MLP(4, 2, hidden=(5,), mean=X.mean(0), scale=X.std(0)), X, {"1.weight": (1, EACH)}),
    "wrong order": (
        lambda: Own(lambda x, out, hidden: out(torch.relu(hidden(x))), nn.Linear(64, 2), nn.Linear(4, 64)),
        X,
        {"b.weight": (1, EACH)},
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Dropout(), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(4, 3), nn.ReLU()),
        X,
        {"3.weight": (1, EACH)},
    ),
    "two layers": (
        lambda: Own(lambda x, a, b, c: a(x) + c(torch.relu(b(x))), nn.Linear(4, 1), nn.Linear(4, 6), nn.Linear(6, 1)),
        X,
        {"a.weight": (1, EACH), "b.weight": (1, EACH)},
    ),
    "two parts": (
        lambda: Own(lambda x, a, b: b(torch.cat([a(x[:, 1:]), x[:, :1]], 1)), nn.Linear(3, 2), nn.Linear(3, 2)),
        X,
        {"a.weight": (1, pairs((), 0, 1, 2)), "b.weight": (1, pairs(2))},
    ),
    "one layer twice": (
        lambda: Own(lambda x, a: a(x[:, :2]) + a(x[:, 2:]), nn.Linear(2, 3)),
        X,
        {"a.weight": (1, pairs(0, 1, 0, 1))},
    ),
    "squares": (
        lambda: Own(lambda x, a: a(torch.cat([x, x**2], 1)), nn.Linear(8, 3)),
        X,
        {"a.weight": (1, pairs((0, 4), (1, 5), (2, 6), (3, 7)))},
    ),
    "embedding": (
        lambda: Own(
            lambda x, e, a: a(torch.cat([e(x[:, 0].long()), x[:, 1:]], 1)),
            nn.Embedding(3, 2, padding_idx=0),
            nn.Linear(5, 3),
        ),
        CODES,
        {"b.weight": (1, pairs((0, 1), 2, 3, 4))},
    ),
    "codes only": (
        lambda: nn.Sequential(nn.Embedding(3, 2), nn.Flatten(), nn.Linear(4, 3)),
        np.tile([[0, 1], [2, 1]], (5, 1)),  # the second column does not vary
        {"2.weight": (1, pairs((0, 1), (2, 3)))},
    ),
    "one-hot": (
        lambda: Own(
            lambda x, a: a(torch.cat([F.one_hot(x[:, 0].long(), 5).float(), x[:, 1:]], 1)), nn.Linear(8, 3)
        ),
        CODES,  # codes 3 and 4 do not occur
        {"a.weight": (1, pairs((0, 1, 2, 3, 4), 5, 6, 7))},
    ),
    "reversed": (lambda: Own(lambda x, a: a(x.flip(1)), nn.Linear(4, 3)), X, {"a.weight": (1, pairs(3, 2, 1, 0))}),
    "in place": (lambda: Own(lambda x, a: a(x.sub_(1).div_(2)), nn.Linear(4, 3)), X, {"a.weight": (1, EACH)}),
    "swapped in place": (lambda: Own(swapped, nn.Linear(4, 3)), X, {"a.weight": (1, pairs(1, 0, 2, 3))}),
    "in a buffer": (lambda: Own(in_a_buffer, nn.Linear(3, 2)), X, {"a.weight": (1, pairs(2, 1, 0, ()))}),
    "columns convolved": (
        lambda: Own(lambda x, a, b: b(a(x[:, None]).flatten(1)), nn.Conv1d(1, 2, 3), nn.Linear(4, 2)),
        X,
        {"a.weight": (1, pairs(0, 0, 0, 0))},
    ),
    "convolution": (
        lambda: Own(lambda x, a: a(x.transpose(1, 2)).mean(2), nn.Conv1d(3, 2, 2)),
        STEPS,
        {"a.weight": (1, AT_EACH_STEP)},
    ),
    "transposed convolution": (
        lambda: nn.Sequential(nn.ConvTranspose1d(5, 10, 2, groups=5), nn.Flatten()),
        STEPS,
        {"0.weight": (0, {(3 * c + t, c) for c in range(5) for t in range(3)})},
    ),
    "image": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)),
        RNG.normal(size=(6, 2, 4, 4)).astype(np.float32),
        {"0.weight": (1, {(k, k // 16) for k in range(32)})},
    ),
    "both ways": (
        lambda: Own(
            lambda x, a, b: b(a(x)[0][:, -1]), nn.LSTM(3, 2, 2, batch_first=True, bidirectional=True), nn.Linear(4, 1)
        ),
        STEPS,
        {"a.weight_ih_l0": (1, AT_EACH_STEP), "a.weight_ih_l0_reverse": (1, AT_EACH_STEP)},
    ),
    "steps first": (
        lambda: Own(lambda x, a: a(x.transpose(0, 1))[0][-1], nn.GRU(3, 2)),
        STEPS,
        {"a.weight_ih_l0": (1, AT_EACH_STEP)},
    ),
    "packed": (
        lambda: Own(
            lambda x, a: a(nn.utils.rnn.pack_padded_sequence(x, [5] * len(x), batch_first=True))[1][0], nn.RNN(3, 2)
        ),
        STEPS,
        {"a.weight_ih_l0": (1, AT_EACH_STEP)},
    ),
    "cells": (lambda: Own(cells, nn.GRUCell(3, 2), nn.Linear(2, 1)), STEPS, {"a.weight_ih": (1, AT_EACH_STEP)}),
    "a layer each step": (
        lambda: Own(lambda x, a: a(x.reshape(-1, 3)).view(len(x), -1), nn.Linear(3, 2)),
        STEPS,
        {"a.weight": (1, AT_EACH_STEP)},
    ),
    "a layer each step, steps first": (
        lambda: Own(lambda x, a: a(x.transpose(0, 1).reshape(-1, 3)).view(5, len(x), 2).mean(0), nn.Linear(3, 2)),
        STEPS,
        {"a.weight": (1, AT_EACH_STEP)},
    ),
    "attention": (
        lambda: Own(lambda x, a: a(x, x, x)[0].mean(1), nn.MultiheadAttention(3, 1, batch_first=True)),
        STEPS,
        {"a.in_proj_weight": (1, AT_EACH_STEP)},
    ),
    "residual": (
        lambda: Own(lambda x, a, b: b(x + torch.relu(a(x))), nn.Linear(4, 4), nn.Linear(4, 2)),
        X,
        {"a.weight": (1, EACH), "b.weight": (1, EACH)},
    ),
    "columns as rows": (
        lambda: Own(lambda x, a: (a.weight @ x.T).T, nn.Linear(4, 3)),
        X,
        {"a.weight": (1, EACH)},
    ),
}  # fmt: skip


def by_name(module, found):
    """Of each kernel, which must be one of the parameters: its name, axis, and columns with their inputs."""
    result = {}
    for kernel in found.kernels:
        values = kernel.read()
        (name,) = (n for n, p in module.named_parameters() if np.array_equal(p.detach().numpy(), values))
        assert kernel.shape == values.shape
        entries = list(zip(kernel.columns.tolist(), kernel.inputs.tolist(), strict=True))
        assert len(entries) == len(set(entries))
        result[name] = kernel.axis, set(entries)
    return result


def state(module):
    """Everything that looking at a module might change."""
    buffers = [b.clone() for b in module.buffers()]
    weights = [p.detach().clone() for p in module.parameters()]
    generators = [torch.get_rng_state(), torch.as_tensor(np.random.get_state()[1].astype(np.int64))]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]
    attributes = [sorted(vars(m)) for m in module.modules()]
    modes = [m.training for m in module.modules()]
    plain = [hooks, attributes, modes, random.getstate(), [p.grad is None for p in module.parameters()]]
    return [*buffers, *weights, *generators], plain


def check_no_trace(module, before):
    tensors, plain = state(module)
    assert all(torch.equal(a, b) for a, b in zip(before[0], tensors, strict=True))
    assert plain == before[1]


@pytest.mark.parametrize("name", CASES)
def test_columns_and_weights(name):
    make, rows, expected = CASES[name]
    torch.manual_seed(0)
    module = make().train()
    before, given = state(module), rows.copy()
    found = find(module, rows)
    assert by_name(module, found) == expected
    assert found.n_columns == rows[0].size
    spread = found.spread(rows)
    assert spread.shape == (found.n_columns,)
    reached = {j for _, entries in expected.values() for j, _ in entries}
    constant = {1} if name == "codes only" else set()
    assert set(np.flatnonzero(spread)) == reached - constant
    assert np.array_equal(rows, given)
    check_no_trace(module, before)


def test_single_rows_and_types():
    module = CASES["squares"][0]()
    expected = CASES["squares"][2]
    for rows in (X[:1], X.astype(np.float64), (9 * X).astype(np.int64), X > 0, np.asfortranarray(X)):
        assert by_name(module, find(module, rows)) == expected
    assert find(module, X).spread(X[:1]).tolist() == [0, 0, 0, 0]


def test_spread_of_what_reaches_the_layers():
    scale = torch.tensor([1.0, 2.0, 4.0, 8.0])
    module = Own(lambda x, a: a(torch.cat([x / scale, x * 3], 1)), nn.Linear(8, 2))
    found = find(module, X)
    assert np.allclose(found.spread(X), 3 * X.std(axis=0), rtol=1e-5)
    mlp = MLP(4, 2, mean=X.mean(0), scale=X.std(0))
    assert np.allclose(find(mlp, X).spread(X), 1, rtol=1e-5)


def test_spread_is_that_of_training():
    """What is learned of means and variances may not have gone far, and steps of a channel have one weight."""
    rows = (RNG.normal(size=(200, 4)) * [1, 10, 100, 1000] + 5).astype(np.float32)
    module = nn.Sequential(nn.BatchNorm1d(4, eps=1e-9), nn.Linear(4, 2))
    before = state(module)
    assert np.allclose(find(module, rows).spread(rows), 1, rtol=1e-3)
    check_no_trace(module, before)
    shared = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 3, 1))
    wanted = rows.reshape(200, 2, 2).std(axis=(0, 2), dtype=float)
    assert np.allclose(find(shared, rows).spread(rows), np.repeat(wanted, 2), rtol=1e-5)


def test_rounding_is_no_spread():
    rows = np.column_stack([X[:, :3].astype(np.float64), np.full(20, 0.1)])
    assert (find(nn.Linear(4, 2).double(), rows).spread(rows) > 0).tolist() == [True, True, True, False]


def test_codes_are_on_no_scale():
    spread = find(CASES["embedding"][0](), CODES).spread(CODES)
    assert np.allclose(spread, [np.nan, *CODES[:, 1:].std(axis=0)], equal_nan=True)


def coded(recode, n):
    """The first column recoded as n numbers, beside the others."""
    return lambda: Own(lambda x, a: a(torch.cat([recode(x[:, :1]).flatten(1), x[:, 1:]], 1)), nn.Linear(n + 3, 2))


EDGES = torch.linspace(-2, 2, 17)
RECODED = {
    "equal": (coded(lambda c: (c == torch.arange(30)).float(), 30), 30),
    "rows of a matrix": (coded(lambda c: torch.eye(30)[c[:, 0].long()], 30), 30),
    "piecewise linear": (coded(lambda c: ((c / 9 - EDGES[:-1]) / (EDGES[1:] - EDGES[:-1])).clamp(0, 1), 16), 8),
    "missing": (coded(lambda c: torch.cat([torch.nan_to_num(c), torch.isnan(c).float()], 1), 2), 2),
    "tails": (coded(lambda c: torch.cat([torch.relu(c - 28), torch.relu(1 - c)], 1), 2), 2),
}


@pytest.mark.parametrize("name", RECODED)
def test_all_that_a_column_is_recoded_as(name):
    make, n = RECODED[name]
    rows = RNG.normal(size=(1000, 4)).astype(np.float32)
    rows[:, 0] = RNG.permutation(1000) % 30
    if name == "missing":
        rows[7, 0] = np.nan
    module = make()
    width = module.a.in_features - 3
    taken = range(width - n, width)  # of the codes, none of which is negative
    assert by_name(module, find(module, rows)) == {"a.weight": (1, pairs(taken, width, width + 1, width + 2))}


def test_made_up_rows_reach_everything_or_rows_are_asked_for():
    def from_ten(start):
        return Own(lambda x, a: a(torch.cat([x[:, :2], torch.relu(x[:, 2:] - start)], 1)), nn.Linear(4, 2))

    module = from_ten(10)
    assert by_name(module, find(module)) == {"a.weight": (1, EACH)}
    with pytest.raises(UnsupportedModelError, match=r"give it a few, as in VarianceImportanceTorch\(model, X=X\)"):
        find(from_ten(1e9))
    padded = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(2, 3, 3), nn.Flatten())
    assert find(padded).n_columns == 2


def test_missing_values():
    rows = np.where(X > 1, np.nan, X)
    module = Own(lambda x, a: a(torch.nan_to_num(x).flip(1)), nn.Linear(4, 2))
    assert by_name(module, find(module, rows)) == {"a.weight": (1, pairs(3, 2, 1, 0))}
    assert np.isnan(find(nn.Linear(4, 2), rows).spread(rows)).any()


def test_spread_of_many_rows(monkeypatch):
    module = CASES["squares"][0]()
    found = find(module, X)
    whole = found.spread(X)
    monkeypatch.setattr("skexplain.torch._input_weights.NUMBERS", 24)
    assert np.allclose(found.spread(X), whole)
    assert by_name(module, find(module, X)) == CASES["squares"][2]


def test_tokens():
    module = Gated()
    (kernel,) = find(module, X).kernels
    assert np.array_equal(kernel.read(), module.tokens.detach().numpy().ravel())
    assert (kernel.shape, kernel.axis) == ((12,), 0)
    assert list(zip(kernel.columns.tolist(), kernel.inputs.tolist(), strict=True)) == [(k // 3, k) for k in range(12)]


def test_grouped_convolution():
    module = nn.Sequential(nn.Conv1d(4, 6, 2, groups=2), nn.Flatten())
    first, second = find(module, RNG.normal(size=(8, 4, 3)).astype(np.float32)).kernels
    weight = module[0].weight.detach().numpy()
    for kernel, part, columns in ((first, weight[:3], range(6)), (second, weight[3:], range(6, 12))):
        assert np.array_equal(kernel.read(), part)
        assert kernel.columns.tolist() == list(columns)
        assert kernel.inputs.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
        lambda: Own(lambda x, a: x @ a.weight.T, nn.Linear(4, 3)),
        lambda: Own(lambda x, a, b: x @ (b.weight @ a.weight).T, nn.Linear(4, 5), nn.Linear(5, 3)),
        lambda: nn.utils.weight_norm(nn.Linear(4, 3)),
    ],
    ids=["weight norm", "spectral norm", "transposed", "product of weights", "old weight norm"],
)
def test_weights_that_are_computed_are_read_as_they_are_now(make):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.nn.utils.weight_norm` is deprecated", FutureWarning)
        module = make().train()
    before = state(module)
    (kernel,) = find(module, X).kernels
    check_no_trace(module, before)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for _ in range(2):
        buffers = [b.clone() for b in module.buffers()]
        got = kernel.read()
        assert all(torch.equal(a, b) for a, b in zip(buffers, module.buffers(), strict=True))
        module.eval()
        with torch.no_grad():
            made = module(torch.eye(4)) - module(torch.zeros(1, 4))  # (in, out)
        assert np.allclose(got if kernel.axis == 0 else got.T, made.numpy(), atol=1e-6)
        optimizer.zero_grad()
        module.train()(torch.as_tensor(X)).pow(2).sum().backward()
        optimizer.step()


def test_weights_are_read_as_they_are_now():
    module = nn.Linear(4, 3)
    (kernel,) = find(module, X).kernels
    for value in (1.0, 2.0):
        with torch.no_grad():
            module.weight.fill_(value)
        assert (kernel.read() == value).all()
    module.weight.data = torch.full((3, 4), 3.0)  # as moving or loading a module does
    assert (kernel.read() == 3).all()
    module.to(torch.float64)
    assert kernel.read().dtype == np.float64


def test_parameters_that_are_replaced():
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
    (kernel,) = find(module, X).kernels
    module[0].weight = nn.Parameter(torch.full((3, 4), 2.0))
    assert (kernel.read() == 2).all()
    l1_unstructured(module[0], "weight", 6)
    assert (kernel.read() == 0).sum() == 6
    with torch.no_grad():
        module[0].weight_orig.fill_(3)
    module(torch.as_tensor(X))
    assert (kernel.read() == 3).sum() == 6
    module[0] = nn.Linear(4, 5)
    with pytest.raises(ValueError, match=r"parameter '0.weight' was replaced.*on_train_begin\(\)"):
        kernel.read()


def test_sources_of_weights_that_are_replaced():
    module = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    (kernel,) = find(module, X).kernels
    module.parametrizations.weight.original0 = nn.Parameter(torch.ones(3, 1))
    with pytest.raises(ValueError, match="original0' was replaced"):
        kernel.read()


def test_half_precision():
    module = nn.Linear(4, 3).to(torch.bfloat16)
    (kernel,) = find(module, X).kernels
    assert np.array_equal(kernel.read(), module.weight.detach().float().numpy())


REFUSED = {
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)), X, "'1.weight' mixes columns"),
    "mean": (lambda: Own(lambda x, a: a(x.mean(1, keepdim=True)), nn.Linear(1, 2)), X, "'a.weight' mixes columns"),
    "difference": (lambda: Own(lambda x, a: a(x[:, :2] - x[:, 2:]), nn.Linear(2, 2)), X, "mixes columns"),
    "softmax": (lambda: nn.Sequential(nn.Softmax(1), nn.Linear(4, 2)), X, "mixes columns"),
    "no weights": (lambda: Own(lambda x: x.sum(1)), X, "No layer with weights"),
    "beside the input": (lambda: Own(lambda x, a: x.sum(1) + a.weight.sum(), nn.Linear(4, 2)), X, "No layer with"),
    "bilinear": (lambda: Own(lambda x, a: a(x, x), nn.Bilinear(4, 4, 2)), X, "by 'bilinear'"),
    "einsum": (lambda: Own(lambda x, a: torch.einsum("bi,oi->bo", x, a.weight), nn.Linear(4, 2)), X, "by 'einsum'"),
    "escape": (lambda: Own(lambda x, a: a(torch.from_numpy(x.numpy())), nn.Linear(4, 2)), X, "leaves torch"),
    "random weights": (
        lambda: Own(lambda x, a: x @ (a.weight + torch.randn_like(a.weight)).T, nn.Linear(4, 2)), X, "drawn anew"
    ),
    "rows": (lambda: Own(lambda x, a: a(x[:, :2] - x[:, :2].mean(0)), nn.Linear(2, 2)), X, "more than one row"),
    "wrong rows": (lambda: nn.Linear(5, 2), X, r"does not run on rows of shape \(4,\)"),
    "rows as channels": (lambda: nn.Conv1d(12, 2, 2), X[:12], "takes the rows for its channels"),
    "lazy": (lambda: nn.LazyLinear(2), X, "run it once"),
    "numbers one by one": (
        lambda: Own(lambda x, a, b: a(torch.tensor([[float(v) for v in r] for r in x])) + b(x),
                    nn.Linear(4, 2), nn.Linear(4, 2)), X, "leaves torch"
    ),
    "scaled by a number": (lambda: Own(lambda x, a: a(x * x.max().item()), nn.Linear(4, 2)), X, "leaves torch"),
    "dlpack": (
        lambda: Own(lambda x, a, b: a(torch.from_dlpack(np.from_dlpack(x) * 2)) + b(x),
                    nn.Linear(4, 2), nn.Linear(4, 2)), X, "leaves torch"
    ),
    "codes one by one": (
        lambda: Own(lambda x, e, a: a(e(torch.tensor([int(c) for c in x[:, 0].long()]))),
                    nn.Embedding(3, 2), nn.Linear(2, 2)), CODES, "what is not seen"
    ),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(5, 2), nn.Linear(2, 1)), np.arange(20).reshape(5, 4) % 5, "mixes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_leave_no_trace(name):
    make, rows, message = REFUSED[name]
    module = make().train()
    if name == "lazy":
        with pytest.raises(UnsupportedModelError, match=message):
            find(module, rows)
        return
    before = state(module)
    with pytest.raises(UnsupportedModelError, match=message):
        find(module, rows)
    check_no_trace(module, before)


@pytest.mark.parametrize(
    "name", ["default", "wrong order", "batch norm", "two layers", "one layer twice", "residual", "in place"]
)
def test_rows_are_made_up(name):
    make, rows, expected = CASES[name]
    torch.manual_seed(0)
    module = make().train()
    if name == "one layer twice":
        with pytest.raises(UnsupportedModelError, match="does not say what rows it takes; give it a few"):
            find(module)
        return
    before = state(module)
    found = find(module)
    assert by_name(module, found) == by_name(module, find(module, rows)) == expected
    assert np.array_equal(found.spread(rows), find(module, rows).spread(rows))
    check_no_trace(module, before)


@pytest.mark.parametrize(
    ("name", "rows", "features"),
    [
        ("both ways", STEPS, STEPS),
        ("steps first", STEPS, STEPS),
        ("image", CASES["image"][1], CASES["image"][1].transpose(0, 2, 3, 1)),
    ],
)
def test_without_rows_columns_are_features_and_channels(name, rows, features):
    make, _, expected = CASES[name]
    module = make()
    found = find(module)
    n = features.shape[-1]
    assert found.n_columns == n
    assert by_name(module, found) == {k: (axis, pairs(*range(n))) for k, (axis, _) in expected.items()}
    # places share the weights
    assert np.allclose(found.spread(rows), features.reshape(-1, n).std(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        CASES["embedding"][0],
        CASES["squares"][0],
        CASES["two parts"][0],
        lambda: Own(lambda x, a: a(torch.cat([x[:, :2], x[:, :2]], 1)), nn.Linear(4, 2)),
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)
        ),
    ],
    ids=["embedding", "squares", "two parts", "unused columns", "any width"],
)
def test_modules_that_do_not_say_what_they_take(make):
    module = make()
    before = state(module)
    with pytest.raises(UnsupportedModelError, match=r"give it a few, as in VarianceImportanceTorch\(model, X=X\)"):
        find(module)
    check_no_trace(module, before)


def test_without_rows_refusals_are_told():
    with pytest.raises(UnsupportedModelError, match="mixes columns"):
        find(REFUSED["layer norm"][0]())


def test_compiled_modules_run_as_written():
    inner = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    expected = by_name(inner, find(inner, X))
    compiled = torch.compile(inner, backend=lambda *args: pytest.fail("compiled"))
    assert by_name(inner, find(compiled, X)) == expected
    outer = nn.Sequential(compiled, nn.Linear(3, 2))
    before = state(outer)
    assert by_name(inner, find(outer, X)) == expected
    check_no_trace(outer, before)
    inner.compile(backend=lambda *args: pytest.fail("compiled"))
    assert by_name(inner, find(inner, X)) == expected


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_functions_are_refused():
    act = torch.jit.script(scripted)
    module = Own(lambda x, a, b: a(act(x)) + b(x), nn.Linear(4, 2), nn.Linear(4, 2))
    with pytest.raises(UnsupportedModelError, match="as in a scripted function"):
        find(module, X)
    behind = Own(lambda x, a, b: act(a(x)) + act(b(x)), nn.Linear(4, 2), nn.Linear(4, 2))
    assert len(find(behind, X).kernels) == 2


def scripted(x):
    return x * torch.sigmoid(1.7 * x)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_modules_are_refused():
    module = nn.Sequential(torch.jit.script(nn.Linear(4, 4)), nn.Linear(4, 2))
    with pytest.raises(UnsupportedModelError, match="scripted module"):
        find(module, X)


def test_many_columns_are_told_apart():
    module = Own(lambda x, a: a(x.flip(1)), nn.Linear(1500, 2))
    (kernel,) = find(module, RNG.normal(size=(30, 1500)).astype(np.float32)).kernels
    assert np.array_equal(kernel.columns, np.arange(1500))
    assert np.array_equal(kernel.inputs, np.arange(1500)[::-1])
