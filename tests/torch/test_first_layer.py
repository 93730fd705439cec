"""The linear first layer is found where it is, and nowhere else."""

import copy

import numpy as np
import pytest
import torch

from skexplain.torch._first_layer import first_layer
from skexplain.torch._module import MLP
from tests.torch.nets import D, crooked, straight

X = torch.as_tensor(np.random.default_rng(0).normal(size=(8, D)))
STRAIGHT, CROOKED = straight(), crooked()


@pytest.mark.parametrize("name", STRAIGHT)
def test_found(name):
    module = copy.deepcopy(STRAIGHT[name]).double().eval()
    layer = first_layer(module, X)
    assert layer is not None
    other = torch.randn(20, D, dtype=torch.float64) * 5
    with torch.no_grad():
        torch.testing.assert_close(layer.rest(layer(other)), module(other), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CROOKED)
def test_not_found(name):
    assert first_layer(copy.deepcopy(CROOKED[name]).double().eval(), X) is None


def test_columns_far_from_zero_keep_their_digits():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(200, D)) + 1e5).astype(np.float32)
    torch.manual_seed(0)
    module = MLP(D, 2, hidden=(8,), mean=rows.mean(0), scale=rows.std(0)).eval()
    rows = torch.as_tensor(rows)
    layer = first_layer(module, rows[:8])
    assert layer is not None
    with torch.no_grad():
        torch.testing.assert_close(layer.rest(layer(rows)), module(rows), rtol=0.02, atol=0.02)
