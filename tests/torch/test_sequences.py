"""Sequences on torch."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from torch import nn

import skexplain
from skexplain._sequence import places_of
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor
from skexplain.torch._network import torch_network
from tests.sequences_contract import DECIDING, FEATURES, STEPS, STRATEGIES, SequencesContract, first, sequences


class Convolution(nn.Sequential):
    def __init__(self, turned=True):
        super().__init__(nn.Conv1d(FEATURES, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * STEPS, 1))
        self.turned = turned

    def forward(self, x):
        return super().forward(x.transpose(1, 2) if self.turned else x)


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.layer, self.out = kind(FEATURES, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x):
        return self.out(self.layer(x)[0][:, -1])


class Both(Recurrent):
    """A convolution behind a recurrent layer, which makes other features of those of the steps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 1)

    def forward(self, x):
        return self.out(self.conv(self.layer(x)[0].transpose(1, 2)).mean(2))


def turned(x):
    return np.ascontiguousarray(np.swapaxes(x, 1, 2))


class TestTorch(SequencesContract):
    convolution = STRATEGIES
    # without "lrp", which gives both factors of a gate one half, and much of it to other steps
    recurrent = [name for name in STRATEGIES if name not in ("lrp", "sage")]

    def regressor(self, kind, **params):
        modules = {
            "conv1d": {"module": Convolution},
            "lstm": {"module": Recurrent},
            "gru": {"module": Recurrent, "module__kind": nn.GRU},
        }
        common = {"optimizer": torch.optim.Adam, "lr": 0.03, "max_epochs": 40, "batch_size": 50, "random_state": 0}
        return NeuralNetRegressor(**modules[kind], train_split=None, **common, **params)


def test_steps_are_where_a_convolution_slides():
    """Features before steps, as torch's convolutions read them."""
    S, y = sequences()
    net = NeuralNetRegressor(
        Convolution, module__turned=False, optimizer=torch.optim.Adam, lr=0.03, max_epochs=40, random_state=0
    ).fit(turned(S), y)
    for attribution in ("saliency", "permutation"):
        found = net.importances(turned(S), y, groups="steps", attribution=attribution, random_state=0)
        assert (first(found), len(found)) == ("step 3", STEPS)
        found = net.importances(turned(S), y, attribution=attribution, feature_names=["a", "b", "c"], random_state=0)
        assert first(found) == "b, step 3"


@pytest.mark.parametrize("net", [Convolution(), Recurrent(), Both()], ids=lambda net: type(net).__name__)
def test_steps_come_first_otherwise(net):
    S, _ = sequences()
    place = places_of(torch_network(net, S[:5]), S[:5])
    np.testing.assert_array_equal(place, np.arange(STEPS * FEATURES).reshape(STEPS, FEATURES))


def test_what_is_no_sequence():
    S, y = sequences()
    X = S.reshape(len(S), -1)
    with pytest.raises(ValueError, match=r"reads rows of shape \(15,\), which are no sequences.*input_shape=.*dict"):
        NeuralNetRegressor(max_epochs=1).fit(X, y).importances(X, groups="steps")
    forest = RandomForestRegressor(2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="no sequences"):
        skexplain.importances(forest, X, y, attribution="permutation", groups="features")
    shaped = NeuralNetRegressor(Recurrent, input_shape=(STEPS, FEATURES), max_epochs=1)
    pipe = make_pipeline(PCA(), shaped).fit(X, y)
    for attribution in ("saliency", "permutation"):
        with pytest.raises(ValueError, match=r"Steps of the pipeline mix, add or drop columns.*dict"):
            skexplain.importances(pipe, X, y, groups="steps", attribution=attribution)
    square = nn.Sequential(nn.Conv1d(3, 2, 1), nn.Flatten(), nn.Linear(6, 1))
    with pytest.raises(ValueError, match="as many steps as features, so it cannot be seen which axis is time"):
        skexplain.importances(square, S[:, :3], groups="steps")
    net = shaped.fit(X, y)
    with pytest.raises(ValueError, match="must differ"):
        net.importances(X, groups="features", feature_names=["a", "a", "b"])
    with pytest.raises(ValueError, match="feature_names has 2 names, but there are 15 columns"):
        net.importances(X, groups="features", feature_names=["a", "b"])
    with pytest.raises(ValueError, match=r"groups='step' must be a dict .* 'steps' or 'features'"):
        net.importances(X, groups="step")


def test_an_estimator_known_by_its_predictions_has_all_columns_of_a_sequence():
    S, y = sequences()
    net = NeuralNetClassifier(
        nn.Sequential(nn.Flatten(), nn.Linear(STEPS * FEATURES, 2)),
        predict_nonlinearity=lambda z: torch.softmax(2 * z, dim=1),
        **{"optimizer": torch.optim.Adam, "lr": 0.03, "max_epochs": 20, "random_state": 0},
    ).fit(S, y > 0)
    found = net.importances(S, y > 0, attribution="permutation", random_state=0)
    assert len(found) == STEPS * FEATURES
    assert found.ranking[0] == DECIDING
    assert first(net.importances(S, y > 0, attribution="permutation", groups="steps", random_state=0)) == "step 3"
