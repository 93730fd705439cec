"""Fitted estimators travel: pickle, copies, processes, also with layers that only ``__main__`` knows."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap

import cloudpickle
import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone

from skexplain.keras import KerasClassifier, KerasRegressor
from skexplain.keras._routing import fresh, frozen, thawed

from . import nets
from .conftest import BACKEND


class Gate(layers.Layer):
    """Not registered anywhere."""

    def build(self, shape):
        self.open = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.open


def squashed(x):
    return keras.ops.tanh(x)


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, first=0.1):
        self.first = first

    def __call__(self, step):
        return self.first * 0.5 ** keras.ops.cast(step, "float32")

    def get_config(self):
        return {"first": self.first}


def gated(meta):
    model = keras.Sequential([layers.Input((meta["n_features_in_"],)), Gate(), layers.Dense(6, squashed)])
    model.add(layers.Dropout(0.2))
    model.add(layers.Dense(meta["n_classes_"], "softmax"))
    return model


def gated_model():
    return gated({"n_features_in_": 4, "n_classes_": 3})


def subclassed():
    return nets.Subclassed(3, "softmax")


TRIPS = {
    "pickle": lambda e: pickle.loads(pickle.dumps(e)),
    "cloudpickle": lambda e: cloudpickle.loads(cloudpickle.dumps(e)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("trip", sorted(TRIPS))
@pytest.mark.parametrize(
    "make", [lambda: gated, gated_model, lambda: subclassed], ids=["function", "model", "subclass"]
)
def test_own_layers(trip, make, blobs):
    X, y = blobs
    clf = KerasClassifier(make(), optimizer="adam", epochs=3, random_state=0).fit(X, y)
    back = TRIPS[trip](clf)
    np.testing.assert_array_equal(back.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(back.feature_importances_, clf.feature_importances_)
    np.testing.assert_array_equal(clone(back).fit(X, y).predict_proba(X), clf.predict_proba(X))


def test_training_goes_on_where_it_was(blobs):
    """The optimizer's moments travel too."""
    X, y = blobs
    clf = KerasClassifier(gated, optimizer="adam", optimizer__learning_rate=Halving(), epochs=2, random_state=0)
    clf.fit(X, y)
    back = pickle.loads(pickle.dumps(clf))
    assert int(back.model_.optimizer.iterations) == int(clf.model_.optimizer.iterations) == 10
    # without dropout's own generator, which starts anew, both would be equal to the last digit
    for estimator in (clf, back):
        estimator.model_.layers[2].rate = 0.0
        estimator.partial_fit(X, y)
    for a, b in zip(clf.model_.get_weights(), back.model_.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_adapted_normalisation(blobs):
    X, y = blobs
    X = 5 * X + 3

    def build():
        normalise = layers.Normalization()
        normalise.adapt(X)
        return keras.Sequential([layers.Input((4,)), normalise, layers.Dense(3, "softmax")])

    for model in (build, build()):
        clf = KerasClassifier(model, epochs=2, random_state=0).fit(X, y)
        back = cloudpickle.loads(cloudpickle.dumps(clf))
        np.testing.assert_array_equal(back.predict_proba(X), clf.predict_proba(X))


def test_unfitted_estimators_travel(blobs):
    X, y = blobs
    for model in (gated, gated_model(), keras.Sequential([layers.Dense(3, "softmax")])):
        clf = KerasClassifier(model, epochs=1, random_state=0)
        back = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(back.fit(X, y).predict_proba(X), clf.fit(X, y).predict_proba(X))


def test_loading_draws_no_random_number(blobs):
    import random

    data = pickle.dumps(KerasClassifier(gated, epochs=1).fit(*blobs))
    state = random.getstate(), np.random.get_state()[1].tolist()
    pickle.loads(data)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state


def test_subclass_whose_build_method_reads_its_parameters(blobs):
    reg = Wide(width=3, epochs=1).fit(*blobs)
    back = pickle.loads(pickle.dumps(reg))
    np.testing.assert_array_equal(back.predict(blobs[0]), reg.predict(blobs[0]))


class OwnLoss(keras.losses.Loss):
    def __init__(self, power=2):
        super().__init__()
        self.power = power

    def call(self, y, p):
        return keras.ops.mean(keras.ops.abs(y - p) ** self.power, axis=-1)


class OwnAdam(keras.optimizers.Adam):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor


class OwnMetric(keras.metrics.Mean):
    def __init__(self, power=2, name="own"):
        super().__init__(name)
        self.power = power


class SaidAdam(OwnAdam):
    def get_config(self):
        return super().get_config() | {"factor": self.factor}


@pytest.mark.parametrize("loss", [keras.losses.Huber(0.1, dtype="float64"), OwnLoss(3)], ids=["huber", "own"])
def test_arguments_that_configurations_leave_out_travel(loss):
    back = thawed(pickle.loads(pickle.dumps(frozen({"loss": [loss]}))))["loss"][0]
    y, p = np.ones((3, 2)), np.array([[1.0, 3.0], [5.0, 2.0], [0.0, 1.5]])
    assert type(back) is type(loss)
    assert back is not loss
    assert back.dtype == loss.dtype
    assert float(back(y, p)) == float(loss(y, p))


@pytest.mark.parametrize("trip", [*TRIPS.values(), clone], ids=[*TRIPS, "clone"])
def test_parameters_keep_their_arguments(trip):
    losses = [keras.losses.Huber(0.1), OwnLoss(3)]
    metrics = {"a": keras.metrics.CosineSimilarity(axis=0)}
    optimizer = keras.optimizers.SGD(Halving(0.3))
    back = trip(KerasRegressor(gated, loss=losses, metrics=metrics, optimizer=optimizer, model__loss=losses[0]))
    assert back.loss[0]._fn_kwargs == back.model__loss._fn_kwargs == {"delta": 0.1}
    assert back.loss[1].power == 3
    assert back.metrics["a"]._fn_kwargs == {"axis": 0}
    assert back.optimizer._learning_rate.first == 0.3
    assert back.optimizer is not optimizer


def test_copies_have_all_arguments():
    assert fresh(keras.metrics.CosineSimilarity(axis=0))._fn_kwargs == {"axis": 0}
    assert fresh(SaidAdam(3.0)).factor == 3.0
    for item in (OwnAdam(3.0), OwnMetric(3)):
        with pytest.raises(TypeError, match=rf"get_config lacks \['\w+'\].*Add get_config to {type(item).__name__}"):
            fresh(item)


class Wide(KerasRegressor):
    def __init__(self, width=2, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def _keras_build_fn(self):
        return keras.Sequential([layers.Input((4,)), layers.Dense(self.width, "relu"), layers.Dense(1)])


def test_pickling_does_not_unfit(blobs):
    clf = KerasClassifier(gated, epochs=1, random_state=0).fit(*blobs)
    before = set(vars(clf))
    p = clf.predict_proba(blobs[0])
    pickle.dumps(clf)
    assert set(vars(clf)) == before
    np.testing.assert_array_equal(clf.predict_proba(blobs[0]), p)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="one back end is enough: what travels is NumPy's")
def test_layers_of_main_in_two_processes(tmp_path):
    """GridSearchCV(n_jobs=2) in a script: builders, models and layers exist in ``__main__`` only."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import keras
            import numpy as np
            from keras import layers
            from sklearn.inspection import permutation_importance
            from sklearn.model_selection import GridSearchCV
            from skexplain.keras import KerasClassifier

            class Own(layers.Layer):
                def call(self, inputs):
                    return 2 * inputs

            class Net(keras.Model):
                def __init__(self, units):
                    super().__init__()
                    self.hidden, self.out = layers.Dense(units, "relu"), layers.Dense(2, "softmax")
                def call(self, inputs):
                    return self.out(self.hidden(inputs))

            def build(units=4):
                hidden = layers.Dense(units, "relu")
                return keras.Sequential([layers.Input((3,)), Own(), hidden, layers.Dense(2, "softmax")])

            if __name__ == "__main__":
                X = np.random.default_rng(0).normal(size=(80, 3))
                y = (X[:, 0] > 0).astype(int)
                for model in (build, Net):
                    clf = KerasClassifier(model, model__units=4, epochs=3, random_state=0).fit(X, y)
                    grid = {"model__units": [3, 5]}
                    two = GridSearchCV(clf, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
                    one = GridSearchCV(clf, grid, cv=2, error_score="raise").fit(X, y)
                    assert np.allclose(two.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"])
                    best = two.best_estimator_
                    assert best.feature_importances_.shape == (3,)
                    permutation_importance(best, X, y, n_repeats=2, n_jobs=2)
                clf = KerasClassifier(build(), epochs=3, random_state=0).fit(X, y)
                GridSearchCV(clf, {"epochs": [1, 2]}, cv=2, n_jobs=2, error_score="raise").fit(X, y)
                print("done")
            """
        )
    )
    env = os.environ | {"KERAS_BACKEND": BACKEND, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=env, timeout=280)
    assert run.stdout.strip().endswith("done"), run.stderr[-3000:]
