"""The estimators' contract on Keras."""

import random

import keras
import pytest

from skexplain.keras import KerasClassifier, KerasRegressor, mlp
from tests.estimator_contract import EstimatorContract

from .conftest import BACKEND


class TestKeras(EstimatorContract):
    linear = {"model": mlp, "model__hidden": (), "epochs": 300, "optimizer": "adam", "optimizer__learning_rate": 0.05}

    def classifier(self, **params):
        own = {"model__hidden": (16,), "epochs": 40, "random_state": 0, "optimizer": "adam"}
        return KerasClassifier(**own | {"optimizer__learning_rate": 0.01} | params)

    def regressor(self, **params):
        own = {"model__hidden": (16,), "epochs": 150, "random_state": 0, "optimizer": "adam"}
        return KerasRegressor(**own | {"optimizer__learning_rate": 0.02} | params)

    @pytest.fixture
    def width_param(self):
        return "model__hidden"

    @pytest.fixture
    def rate_param(self):
        return "optimizer__learning_rate"

    def generator_states(self):
        from keras.src.backend.common import global_state

        own = [repr(global_state.get_global_attribute("global_random_seed")), repr(random.getstate())]
        generator = global_state.get_global_attribute("global_seed_generator")
        own.append(None if generator is None else keras.ops.convert_to_numpy(generator.state).tolist())
        if BACKEND == "tensorflow":
            from tensorflow.python.eager import context

            eager = context.context()
            rng = getattr(eager, "_rng", None)
            own += [eager._seed, None if rng is None else repr(rng.getstate())]
        return own
