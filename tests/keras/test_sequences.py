"""Sequences on Keras."""

import keras
import pytest
from keras import layers

from skexplain.keras import KerasRegressor
from tests.sequences_contract import SequencesContract

pytestmark = pytest.mark.xdist_group("keras sequences")

LAYERS = {
    "conv1d": lambda: [layers.Conv1D(8, 1, activation="relu"), layers.Flatten()],
    "lstm": lambda: [layers.LSTM(8)],
    "gru": lambda: [layers.GRU(8)],
}


def sequence_net(meta, kind):
    return keras.Sequential([keras.Input(meta["X_shape_"][1:]), *LAYERS[kind](), layers.Dense(1)])


class TestKeras(SequencesContract):
    # one for each way in which the framework is asked
    convolution = ["deepshap", "expected_gradients", "lrp", "occlusion", "permutation", "saliency", "shapley_sampling"]
    recurrent = ["deeplift", "expected_gradients", "occlusion", "permutation"]

    def regressor(self, kind, **params):
        common = {"optimizer": "adam", "optimizer__learning_rate": 0.03, "epochs": 40, "random_state": 0}
        return KerasRegressor(sequence_net, model__kind=kind, batch_size=50, **common, **params)
