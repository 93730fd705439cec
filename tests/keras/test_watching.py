"""What looks on while a network trains, in Keras: estimators, Keras' own fit, loops by hand."""

import keras
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skexplain.exceptions import UnsupportedModelError
from skexplain.keras import KerasClassifier, KerasRegressor
from skexplain.training import ImportanceHistory, MetricThreshold, VarianceImportanceKeras, WeightHistory
from tests.watching_contract import WatchingContract

RNG = np.random.default_rng(0)
layers = keras.layers


class TestKeras(WatchingContract):
    epochs = "epochs"

    def classifier(self, **params):
        own = {"model__hidden": (16,), "epochs": 40, "random_state": 0, "optimizer": "adam"}
        return KerasClassifier(**own | {"optimizer__learning_rate": 0.01} | params)


def dense(n_columns=3, n_units=5):
    return keras.Sequential(
        [layers.Input((n_columns,)), layers.Dropout(0.2), layers.Dense(n_units, "relu"), layers.Dense(2)]
    )


def by_hand(model, samples, **params):
    """Feed a sequence of weights ``(n_samples, n_columns, n_units)`` of the first layer; the scores."""
    viann = VarianceImportanceKeras(**params)
    layer = next(layer for layer in model.layers if layer.weights)
    viann.set_model(model)
    for k, values in enumerate(samples):
        layer.kernel.assign(values)
        viann.on_epoch_end(k - 1) if k else viann.on_train_begin()
    viann.on_train_end()
    return viann.var_scores


def test_weights_fed_by_hand():
    samples = RNG.normal(size=(8, 3, 5)).astype(np.float32)
    exact = samples.astype(float)
    expected = (exact.var(axis=0) * np.abs(exact[-1])).sum(axis=1)
    np.testing.assert_allclose(by_hand(dense(), samples), expected / expected.sum(), rtol=1e-10)


@pytest.mark.parametrize("params", [{}, {"include_initial": False}, {"normalize": "minmax"}, {"normalize": None}])
def test_both_frameworks_give_the_same(params):
    torch = pytest.importorskip("torch")
    from tests.torch.test_watching import by_hand as by_hand_in_torch

    samples = RNG.normal(size=(10, 4, 6)).astype(np.float32)
    twin = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    expected = by_hand_in_torch(twin, samples, **params)
    np.testing.assert_allclose(by_hand(dense(4, 6), samples, **params), expected, atol=1e-5, rtol=1e-5)


def test_keras_own_fit():
    X, y = RNG.normal(size=(60, 3)).astype(np.float32), RNG.integers(2, size=60)
    model = dense()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    viann, history = VarianceImportanceKeras(per="step"), WeightHistory(per="step")
    shares = ImportanceHistory("saliency", rows=X, max_cost=None)
    stop = MetricThreshold(threshold=0.0, min_epochs=3)
    watchers = [viann, history, shares, stop]
    model.fit(X, y, epochs=9, batch_size=20, validation_split=0.2, verbose=0, callbacks=watchers)
    assert len(model.history.history["loss"]) == stop.stopped_epoch == 3
    assert len(history.weights) == 3 * 3 + 1
    assert shares.values.shape == (4, 3)
    exact = history.weights.astype(float)
    expected = (exact.var(axis=0) * np.abs(exact[-1])).sum(axis=1)
    np.testing.assert_allclose(viann.var_scores, expected / expected.sum(), rtol=1e-5)
    np.testing.assert_array_equal(exact[-1].astype(np.float32), keras.ops.convert_to_numpy(model.layers[1].kernel))
    model.fit(X, y, epochs=1, batch_size=20, verbose=0, callbacks=watchers[:2])  # goes on
    assert len(history.weights) == 3 * 3 + 1 + 3


@pytest.mark.parametrize(
    "build",
    [
        lambda: [layers.BatchNormalization(), layers.Dense(4, "relu")],
        lambda: [layers.Normalization(), layers.Dense(4, "relu")],
        lambda: [layers.Reshape((3, 2)), layers.Conv1D(4, 2), layers.Flatten()],
        lambda: [layers.Embedding(5, 3), layers.Flatten()],
    ],
    ids=["batch_norm", "normalization", "convolution", "embedding"],
)
def test_one_importance_a_column(build):
    X, y = RNG.integers(5, size=(60, 6)).astype(float), RNG.integers(2, size=60)

    def model():
        return keras.Sequential([layers.Input((6,)), *build(), layers.Dense(1, "sigmoid")])

    clf = KerasClassifier(model, attribution="viann", epochs=1, random_state=0).fit(X, y)
    assert clf.feature_importances_.shape == (6,)
    assert np.isfinite(clf.feature_importances_).all()


def test_no_weights_on_columns():
    X, y = RNG.normal(size=(60, 3)), RNG.normal(size=60)

    def model():
        return keras.Sequential([layers.Input((3,)), layers.LayerNormalization(), layers.Dense(1)])

    with pytest.raises(UnsupportedModelError, match="permutation"):
        KerasRegressor(model, attribution="viann").fit(X, y)
    with pytest.raises(NotFittedError, match="has watched no training to its end"):
        _ = VarianceImportanceKeras().var_scores


def test_is_a_callback_of_keras():
    assert isinstance(VarianceImportanceKeras(), keras.callbacks.Callback)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Keras takes single steps on torch")
def test_steps_that_keras_takes_at_once():
    X, y = RNG.normal(size=(60, 3)), RNG.integers(2, size=60)

    def model():
        made = keras.Sequential([layers.Input((3,)), layers.Dense(4, "relu"), layers.Dense(1, "sigmoid")])
        made.compile("sgd", "binary_crossentropy", steps_per_execution=3)
        return made

    with pytest.raises(ValueError, match=r"WeightHistory: Keras takes several steps at once.*steps_per_execution=1"):
        model().fit(X, y, batch_size=10, verbose=0, callbacks=[WeightHistory(per="step")])
    history, by_epoch = WeightHistory(per="step"), WeightHistory()
    KerasClassifier(model, epochs=2, batch_size=10, callbacks=[history], random_state=0).fit(X, y)
    assert history.times.tolist() == list(range(13))
    model().fit(X, y, epochs=2, batch_size=10, verbose=0, callbacks=[by_epoch])
    assert by_epoch.times.tolist() == [0, 1, 2]


def test_codes_that_cannot_be_found_without_rows():
    """Boundaries that no number made up is beyond: rows are asked for, and looked at when they are shown."""
    x = layers.Input((2,))
    far = layers.Discretization([2e7, 3e7], output_mode="one_hot")(x[:, :1])
    model = keras.Model(x, layers.Dense(1)(layers.Concatenate()([far, x[:, 1:]])))
    model.compile("sgd", "mse")
    X, y = np.column_stack([RNG.choice([1e7, 2.5e7, 5e7], size=60), RNG.normal(size=60)]), RNG.normal(size=60)
    history = WeightHistory()
    with pytest.raises(UnsupportedModelError, match=r"without rows which columns enter.*viann\.look\(X\)"):
        model.fit(X, y, verbose=0, callbacks=[history])
    history.look(X)
    model.fit(X, y, verbose=0, callbacks=[history])
    assert np.isfinite(history.weights).sum(axis=2).tolist() == [[3, 1], [3, 1]]
