"""Random weights in torch: trained arrays change, scalers and the original do not."""

import numpy as np
import torch
from torch import nn

import skexplain
from skexplain.datasets import make_linear
from skexplain.metrics._randomised import randomised
from skexplain.torch import NeuralNetRegressor


class Normed(nn.Module):
    def __init__(self, n_in=6):
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(n_in), nn.Linear(n_in, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, X):
        return self.layers(X)


class Fixed(Normed):
    def __init__(self):
        super().__init__(6)


def test_weights_are_random_and_the_model_is_left_alone():
    data = make_linear(200, 6, random_state=0)
    net = NeuralNetRegressor(Normed, max_epochs=3, random_state=0).fit(data.data, data.target)
    before = {name: value.clone() for name, value in net.module_.state_dict().items()}
    outputs, state = net.predict(data.data), torch.get_rng_state()
    other = randomised(net, np.random.default_rng(0))
    assert (torch.get_rng_state() == state).all()
    np.testing.assert_array_equal(net.predict(data.data), outputs)
    trained = {name for name, _ in net.module_.named_parameters()}
    for name, value in other.module_.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in trained), name
        assert torch.equal(net.module_.state_dict()[name], before[name])
    # the explanation is of the new weights, not of what was known of the old ones
    assert not np.allclose(other.explain(data.data[:5]).values, net.explain(data.data[:5]).values)
    np.testing.assert_allclose(
        other.explain(data.data[:5]).predictions, other.predict(data.data[:5]).ravel(), rtol=1e-4
    )


def test_sanity_check_of_the_default_network():
    data = make_linear(200, 6, random_state=0)
    report = skexplain.sanity_check(NeuralNetRegressor(max_epochs=30), data.data, data.target, n_repeats=1)
    assert report["weight randomisation"].verdict == "pass"
    assert report["random probe"].verdict == "pass"
    assert report["duplicated column"].verdict == "pass"


def test_a_module_of_one_width_cannot_have_a_column_more():
    data = make_linear(100, 6, random_state=0)
    report = skexplain.sanity_check(NeuralNetRegressor(Fixed, max_epochs=3), data.data, data.target, n_repeats=1)
    assert report["random probe"].verdict == report["duplicated column"].verdict == "not run"
    assert report["weight randomisation"].verdict != "not run"


def test_training_that_is_watched():
    data = make_linear(100, 6, random_state=0)
    net = NeuralNetRegressor(max_epochs=5)
    report = skexplain.sanity_check(net, data.data, data.target, attribution="viann", n_repeats=1)
    assert report["weight randomisation"].verdict == "not run"
    assert "read off the training" in report["weight randomisation"].why
    assert report["label permutation"].verdict != "not run"
    assert net.attribution == "expected_gradients"
