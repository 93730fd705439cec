"""What should add up is held to the spread of the outputs, and refused where rounding hides it."""

import numpy as np
import pytest

from skexplain import CompletenessError
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import DeepLIFT, DeepSHAP, IntegratedGradients
from skexplain.attributions._completeness import check_sums

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(200, 4)), RNG.normal(size=(40, 4))
TARGET = np.zeros(len(X), int)
LINEAR = Head("linear", 1)


def net(bias, W=None):
    W = np.array([[1.0], [-2], [0.5], [0]]) if W is None else W
    return DenseNetwork([W], [np.array([bias])], "identity", LINEAR)


def values_of(network, background):
    return (X - background.mean(axis=0)) * network.weights[0][:, 0]


def check(network, background=B, values=None):
    values = values_of(network, background) if values is None else values
    return check_sums(network, values, X, background, background, TARGET)


class InFloat32(DenseNetwork):
    """Outputs as a float32 network rounds them."""

    eps = float(np.finfo(np.float32).eps)

    def raw(self, X):
        return super().raw(X).astype(np.float32).astype(np.float64)


def rounded(bias):
    return InFloat32([net(0).weights[0]], [np.array([bias])], "identity", LINEAR)


@pytest.mark.parametrize("bias", [1e5, 1e6, 1e9])
@pytest.mark.parametrize("background", [B, B[:1]], ids=["rows", "row"])
def test_sums_that_rounding_hides_are_refused(bias, background):
    with pytest.raises(CompletenessError, match=r"rounding hides whether .*dtype='float64'"):
        check(rounded(bias), background)
    with pytest.raises(CompletenessError, match=r"rounding hides whether .*dtype='float64'"):
        IntegratedGradients().attribute(rounded(bias), X, background, TARGET, None)


@pytest.mark.parametrize("bias", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("background", [B, B[:1]], ids=["rows", "row"])
def test_sums_that_are_right_are_accepted(bias, background):
    assert check(rounded(bias), background) < 1e-3
    assert IntegratedGradients().attribute(rounded(bias), X, background, TARGET, None).gap < 1e-3


def test_the_gap_is_in_units_of_the_spread():
    network = net(1.0)
    off = np.zeros(X.shape)
    off[3, 0] = 5e-4 * network.predict(B).std()
    assert check(network, values=values_of(network, B) + off) == pytest.approx(5e-4)
    with pytest.raises(CompletenessError, match=r"For 1 of 200 rows the attributions miss .* by up to 0\.002 of"):
        check(network, values=values_of(network, B) + 4 * off)
    with pytest.raises(CompletenessError, match="For 1 of 200 rows"):
        check(network, values=values_of(network, B) + np.where(off > 0, np.nan, 0))


@pytest.mark.parametrize("bias", [0.0, 0.1, 1 / 3, 1e7])
def test_a_constant_output_has_no_gap(bias):
    network = net(bias, np.zeros((4, 1)))
    assert check(network) == 0
    assert check(network, B[:1]) == 0
    assert IntegratedGradients().attribute(network, X, B, TARGET, None).gap == 0


def test_values_that_cancel_have_no_gap():
    """One background row of the same output: nothing to divide, and the rounding of a sum is no gap."""
    network = net(0.7, np.array([[1.0], [1], [1], [0]]))
    row = X[:1] + np.array([0.1, 0.2, -0.3, 0])
    assert network.predict(row)[0, 0] == pytest.approx(network.predict(X[:1])[0, 0], abs=1e-15)
    values = (X[:1] - row) * network.weights[0][:, 0]
    assert check_sums(network, values, X[:1], row, row, TARGET[:1]) < 1e-6


def test_a_row_like_the_only_background_row_does_not_spoil_the_others():
    """Rows whose output happens to be that of the reference are held to what their values add up."""
    network = rounded(1.0)
    at = B[:1] + 3e-6 * np.array([[1.0, 0, 0, 0]]) + np.array([[2.0, 1.0, 0, 0]])  # 2 * 1 - 1 * 2 = 0
    rows = np.r_[X, at]
    values = (rows - B[:1]) * network.weights[0][:, 0]
    assert check_sums(network, values, rows, B[:1], B[:1], np.zeros(len(rows), int)) < 1e-3


@pytest.mark.parametrize("strategy", [DeepLIFT(), DeepSHAP()])
@pytest.mark.parametrize("bias", [1e5, 1e6])
def test_backward_rules_on_a_float32_network(strategy, bias):
    torch = pytest.importorskip("torch")
    from skexplain import explain

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    assert explain(module, X, background=B, attribution=strategy).gap < 1e-5
    with torch.no_grad():
        module[2].bias += bias
    with pytest.raises(CompletenessError, match="rounding hides whether"):
        explain(module, X, background=B, attribution=strategy)
    double = module.double()
    assert explain(double, X, background=B, attribution=strategy).gap < 1e-5
