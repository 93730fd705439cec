"""The laws of the zoo on torch."""

import numpy as np
import pytest

from tests import zoo
from tests.zoo import in_torch
from tests.zoo.laws import ZooLaws


class TestTorch(ZooLaws):
    framework = "torch"
    some = zoo.NAMES

    def may_refuse(self, strategy, spelling):
        return super().may_refuse(strategy, spelling) or (strategy == "weight_mean_abs" and spelling == "einsum")


@pytest.mark.parametrize("name", zoo.NAMES)
def test_spellings_are_the_same_network(name):
    X, B = zoo.rows()
    first, *others = zoo.torch_nets()[name].values()
    for rows in (X, B):
        expected = in_torch.outputs(first, rows)
        for net in others:
            np.testing.assert_allclose(in_torch.outputs(net, rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_networks_have_learned(name):
    X, classes, numbers = zoo.training_data()
    out = in_torch.outputs(next(iter(zoo.torch_nets()[name].values())), X)
    if name in zoo.REGRESSORS:
        assert ((out - numbers) ** 2).mean() < 0.3 * numbers.var()
    else:
        assert (out.argmax(axis=1) == classes).mean() > 0.5
