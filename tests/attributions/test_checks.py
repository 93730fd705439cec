"""Parameters that are no finite numbers are refused by their names."""

import numpy as np
import pytest

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import LRP, SAGE, KernelSHAP, ShapleySampling, SmoothGrad
from skexplain.attributions._checks import check_finite

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))
NET = DenseNetwork([np.ones((3, 1))], [np.zeros(1)], "identity", Head("linear", 1))


def run(strategy):
    if strategy.local:
        return strategy.attribute(NET, X, X, np.zeros(6, int), np.random.default_rng(0))
    return strategy.importances(NET, X, X[:, 0], [np.array([j]) for j in range(3)], np.random.default_rng(0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float32("nan")])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (SmoothGrad, "noise"),
        (SAGE, "tol"),
        (KernelSHAP, "tol"),
        (ShapleySampling, "tol"),
        *((LRP, name) for name in ("epsilon", "gamma", "alpha", "low", "high")),
    ],
)
def test_not_finite(make, name, value):
    with pytest.raises(ValueError, match=rf"^{name}\b.*(finite|must be >=)"):
        run(make(**{name: value}))


@pytest.mark.parametrize("name", ["low", "high"])
def test_box_with_a_hole(name):
    with pytest.raises(ValueError, match=rf"^{name}=\[0, nan, 0\] must be finite"):
        run(LRP(rule="z_box", **{name: [0, np.nan, 0]}))
    with pytest.raises(ValueError, match=rf"^{name}='wide' must be a number, or one for each feature"):
        run(LRP(rule="z_box", **{name: "wide"}))


def test_numbers_that_are_finite():
    for value in (0, 0.5, np.float32(2), np.int64(3)):
        check_finite(value, "tol", min_val=0)
    with pytest.raises(TypeError, match="tol must be an instance of"):
        check_finite("0.1", "tol", min_val=0)
