"""What is Keras' about the estimators: models of every kind, routing, going on, seeds."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from skexplain import _defaults
from skexplain.keras import KerasClassifier, KerasRegressor, Standardise, mlp

from .conftest import BACKEND


def simple(meta, units=6, activation="relu"):
    model = keras.Sequential([layers.Input((meta["n_features_in_"],)), layers.Dense(units, activation)])
    model.add(layers.Dense(meta["n_classes_"], "softmax"))
    return model


def weights_of(estimator):
    return np.concatenate([w.ravel() for w in estimator.model_.get_weights()])


class Scaled(layers.Layer):
    """A layer that Keras does not know by name."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


# --- the default model


def test_the_default_model(blobs):
    X, y = blobs
    for model, first in ((None, ["EncodeNumbers", "GatedDense"]), (mlp, ["Standardise", "Dense"])):
        clf = KerasClassifier(model, model__hidden=(5, 4), model__dropout=0.1, epochs=2, random_state=0).fit(X, y)
        kinds = [type(layer).__name__ for layer in clf.model_.layers]
        assert kinds == [*first, "Dropout", "Dense", "Dropout", "Dense"]
        assert [layer.units for layer in clf.model_.layers if hasattr(layer, "units")] == [5, 4, 3]
    mean, scale = clf.model_.layers[0].get_weights()
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scale, [*X[:, :3].std(axis=0), 1], rtol=1e-4)  # 1 for the constant column
    with pytest.raises(ValueError, match=r"hidden=\(0,\)"):
        KerasClassifier(model__hidden=(0,)).fit(X, y)


def test_default_training_stops_early_and_no_default_is_written_back(blobs):
    X, y = blobs
    clf = KerasClassifier(mlp, random_state=0).fit(X, y)
    assert clf.n_iter_ == len(clf.history_["val_loss"]) <= _defaults.MAX_EPOCHS
    assert (clf.epochs, clf.batch_size, clf.optimizer, clf.validation_split) == ("auto",) * 4
    best = int(np.argmin(clf.history_["val_loss"])) + 1
    assert clf.n_iter_ in (best + _defaults.PATIENCE, _defaults.MAX_EPOCHS)
    few = KerasClassifier(epochs=4, random_state=0).fit(X, y)
    assert few.n_iter_ == 4
    assert "val_loss" not in few.history_


def test_units_of_columns_and_target_do_not_matter(line):
    X, y = line
    scale = np.array([1e-3, 1.0, 1e4], dtype="float32")
    plain = KerasRegressor(epochs=60, model__hidden=(16,), random_state=0).fit(X, y)
    scaled = KerasRegressor(epochs=60, model__hidden=(16,), random_state=0).fit(X * scale, 1e4 * y)
    assert plain.score(X, y) > 0.97
    assert scaled.score(X * scale, 1e4 * y) == pytest.approx(plain.score(X, y), abs=1e-3)


def test_standardise_stands_in_any_model(blobs):
    X, y = blobs

    def build(meta):
        x = layers.Input((4,))
        return keras.Model(x, layers.Dense(3)(layers.Dense(4, "relu")(Standardise()(x))))

    clf = KerasClassifier(build, epochs=1).fit(X, y)
    np.testing.assert_allclose(clf.model_.layers[1].get_weights()[0], X.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_weights_reach_the_standardisation(line):
    X, y = line
    w = np.where(X[:, 0] > 0, 3.0, 1.0)
    reg = KerasRegressor(mlp, epochs=1).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(reg.model_.layers[0].get_weights()[0], np.average(X, axis=0, weights=w), rtol=1e-3)
    np.testing.assert_allclose(reg.model_.layers[-1].get_weights()[0], np.average(y, weights=w), rtol=1e-3)


# --- models of every kind


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["sequential", "functional", "custom layer"])
def test_a_model_is_copied_and_never_trained(kind, compiled, blobs):
    X, y = blobs
    if kind == "functional":
        x = layers.Input((4,))
        model = keras.Model(x, layers.Dense(3, "softmax")(layers.Dense(6, "relu")(x)))
    else:
        inner = [Scaled()] if kind == "custom layer" else []
        model = keras.Sequential([layers.Input((4,)), *inner, layers.Dense(6, "relu"), layers.Dense(3, "softmax")])
    if compiled:
        model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    before = [w.copy() for w in model.get_weights()]
    params = {} if compiled else {"optimizer": "adam", "optimizer__learning_rate": 0.05}
    clf = KerasClassifier(model, epochs=15, random_state=0, **params)
    first = clf.fit(X, y).predict_proba(X)
    assert clf.score(X, y) > 0.8
    assert float(clf.model_.optimizer.learning_rate) == pytest.approx(0.05)
    np.testing.assert_array_equal(clf.fit(X, y).predict_proba(X), first)
    np.testing.assert_array_equal(clone(clf).fit(X, y).predict_proba(X), first)
    assert clone(clf).model is model
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not compiled or not int(model.optimizer.iterations)


def test_a_trained_model_scores_at_chance_without_training(blobs):
    X, y = blobs
    model = simple({"n_features_in_": 4, "n_classes_": 3}, units=16)
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    keras.utils.set_random_seed(0)
    model.fit(X, y, epochs=60, verbose=0)
    assert (np.argmax(keras.ops.convert_to_numpy(model(X)), axis=1) == y).mean() > 0.85
    model.compile(keras.optimizers.Adam(1e-9), "sparse_categorical_crossentropy")
    scores = [cross_val_score(KerasClassifier(model, random_state=s), X, y, cv=3).mean() for s in range(3)]
    assert np.mean(scores) < 0.6


def test_what_training_would_leave_alone_is_kept(blobs):
    X, y = blobs
    normalise = layers.Normalization()
    normalise.adapt(X)
    frozen = layers.Dense(5, "relu", trainable=False)
    model = keras.Sequential([layers.Input((4,)), normalise, frozen, layers.Dense(3, "softmax")])
    clf = KerasClassifier(model, epochs=1, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.model_.layers[1].get_weights()[0], frozen.get_weights()[0])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(clf.model_.layers[0](X)), keras.ops.convert_to_numpy(normalise(X)), rtol=1e-6
    )
    assert np.abs(clf.model_.layers[2].get_weights()[0] - model.layers[2].get_weights()[0]).max() > 0.01


class Plain(keras.Model):
    """Made in one way only, which its configuration does not say."""

    def __init__(self):
        super().__init__()
        self.out = layers.Dense(3)

    def call(self, inputs):
        return self.out(inputs)


def test_a_subclassed_model_without_parameters_is_made_again(blobs):
    X, y = blobs
    model = Plain()
    clf = clone(KerasClassifier(model, optimizer="adam", optimizer__learning_rate=0.1, epochs=10, random_state=0))
    assert clf.fit(X, y).score(X, y) > 0.75
    assert not model.built


def test_models_that_cannot_be_used(blobs):
    class Telling(Plain):
        def get_config(self):
            return {"units": 3}

    with pytest.raises(TypeError, match=r"unexpected keyword argument 'units'\. Pass a function that builds the model"):
        KerasClassifier(Telling()).fit(*blobs)

    class Closed(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.out = layers.Dense(units)

        def call(self, inputs):
            return self.out(inputs)

    with pytest.raises(TypeError, match="pass a function that builds the model"):
        KerasClassifier(Closed(3)).fit(*blobs)
    with pytest.raises(TypeError, match=r"neither a keras\.Model nor a function"):
        KerasClassifier("mlp").fit(*blobs)
    with pytest.raises(TypeError, match=r"returned a str; it must return a keras\.Model"):
        KerasClassifier(lambda: "no model").fit(*blobs)
    with pytest.raises(TypeError, match="takes no parameter 'units'"):
        KerasClassifier(mlp, model__units=3).fit(*blobs)
    with pytest.raises(TypeError, match="takes no parameter 'units'"):
        KerasClassifier(keras.Sequential([layers.Input((4,)), layers.Dense(3)]), model__units=3).fit(*blobs)


def test_subclasses_with_a_build_method(blobs):
    class Own(KerasClassifier):
        def __init__(self, width=7, **kwargs):
            super().__init__(**kwargs)
            self.width = width

        def _keras_build_fn(self, meta, compile_kwargs):
            model = simple(meta, units=self.width)
            model.compile(loss="sparse_categorical_crossentropy", optimizer=compile_kwargs["optimizer"])
            return model

    clf = clone(Own(width=9, epochs=2, optimizer="sgd")).fit(*blobs)
    assert clf.model_.layers[0].units == 9
    assert type(clf.model_.optimizer).__name__ == "SGD"
    assert clf.n_iter_ == 2


# --- going on


def test_warm_start(blobs):
    X, y = blobs
    clf = KerasClassifier(simple, epochs=3, warm_start=True, random_state=0).fit(X, y)
    model, first = clf.model_, weights_of(clf)
    clf.fit(X, y)
    assert clf.model_ is model
    assert np.abs(weights_of(clf) - first).max() > 1e-4
    assert int(model.optimizer.iterations) == 2 * 3 * 5
    assert clf.n_iter_ == 3
    with pytest.raises(ValueError, match="features"):
        clf.fit(X[:, :2], y)


def test_partial_fit(blobs):
    X, y = blobs
    clf = KerasClassifier(simple, random_state=0)
    clf.partial_fit(X[:20], np.zeros(20, int), classes=[0, 1, 2])
    assert clf.classes_.tolist() == [0, 1, 2]
    for _ in range(2):
        clf.partial_fit(X, y)
    assert clf.n_iter_ == 3
    assert len(clf.history_["loss"]) == 3
    with pytest.raises(ValueError, match="7"):
        clf.partial_fit(X, np.full(len(X), 7))
    first = clf.feature_importances_
    clf.partial_fit(X, y)
    assert np.abs(clf.feature_importances_ - first).max() > 0
    reg = KerasRegressor(random_state=0).partial_fit(X, y).partial_fit(X, y)
    assert reg.n_iter_ == 2


# --- parameters


def test_parameters_reach_their_places(blobs):
    X, y = blobs
    seen = []

    class Watching(keras.callbacks.Callback):
        def __init__(self, mark="none"):
            super().__init__()
            self.mark = mark

        def on_epoch_end(self, epoch, logs=None):
            seen.append((self.mark, epoch, sorted(logs)))

    clf = KerasClassifier(
        simple,
        units=9,
        model__activation="tanh",
        optimizer="sgd",
        optimizer__momentum=0.5,
        optimizer__learning_rate=keras.optimizers.schedules.ExponentialDecay,
        optimizer__learning_rate__initial_learning_rate=0.2,
        optimizer__learning_rate__decay_steps=1,
        optimizer__learning_rate__decay_rate=0.5,
        loss="sparse_categorical_crossentropy",
        loss__name="named",
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy],
        metrics__1__k=2,
        callbacks={"a": Watching, "b": [Watching("b")]},
        callbacks__a__mark="a",
        batch_size=50,
        epochs=7,
        fit__epochs=2,
        validation_split=0.2,
    ).fit(X, y)
    assert clf.model_.layers[0].units == 9
    assert clf.model_.layers[0].activation is keras.activations.tanh
    optimizer = clf.model_.optimizer
    assert optimizer.momentum == 0.5
    assert float(optimizer.learning_rate) == pytest.approx(0.2 * 0.5 ** int(optimizer.iterations))
    assert int(optimizer.iterations) == 2 * 3  # 120 rows in batches of 50
    assert clf.model_.loss.name == "named"
    names = {"loss", "accuracy", "sparse_top_k_categorical_accuracy"}
    assert set(clf.history_) == names | {f"val_{name}" for name in names}
    assert [s[:2] for s in seen] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert "val_accuracy" in seen[0][2]


@pytest.mark.parametrize("make", [KerasClassifier, KerasRegressor])
def test_routed_values_win_over_the_defaults(make, blobs):
    reg = make(optimizer__learning_rate=0.1, optimizer__beta_1=0.8, epochs=1).fit(*blobs)
    assert float(reg.model_.optimizer.learning_rate) == pytest.approx(0.1)
    assert reg.model_.optimizer.beta_1 == 0.8
    search = GridSearchCV(make(epochs=1), {"optimizer__learning_rate": [0.1, 0.2]}, cv=2, error_score="raise")
    best = search.fit(*blobs).best_params_["optimizer__learning_rate"]
    assert float(search.best_estimator_.model_.optimizer.learning_rate) == pytest.approx(best)


@pytest.mark.parametrize("make", [KerasClassifier, KerasRegressor])
def test_unknown_arguments_of_fit_name_the_public_class(make, blobs):
    with pytest.raises(TypeError, match=rf"{make.__name__}\.fit\(\) got an unexpected keyword argument 'epochs'"):
        make().fit(*blobs, epochs=3)


def test_parameters_are_checked(blobs):
    with pytest.raises(TypeError, match="fit__epoch is not a parameter of fit; valid names are"):
        KerasClassifier(fit__epoch=3).fit(*blobs)
    optimizer = keras.optimizers.SGD()
    with pytest.raises(TypeError, match="takes no parameters, but got"):
        KerasClassifier(optimizer=optimizer, optimizer__learning_rate=0.1).fit(*blobs)
    with pytest.raises(TypeError, match="callbacks contains 3"):
        KerasClassifier(callbacks=[3]).fit(*blobs)
    with pytest.raises(ValueError, match=r"validation_split=1.0 must be"):
        KerasClassifier(validation_split=1.0).fit(*blobs)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        KerasClassifier(batch_size=0).fit(*blobs)
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        KerasClassifier().set_params(epoch=3)


def test_get_and_set_params():
    clf = KerasClassifier(simple, units=4, optimizer__learning_rate=0.1)
    params = clf.get_params()
    assert params["units"] == 4
    assert params["optimizer__learning_rate"] == 0.1
    clf.set_params(activation="tanh", model__units=3, loss__from_logits=False, epochs=2)
    twin = clone(clf)
    assert twin.get_params() == clf.get_params()
    assert twin.activation == "tanh"
    assert "units=4" in repr(twin)
    assert "activation" not in KerasClassifier(simple).get_params()


def test_instances_of_optimizers_serve_many_fits(blobs):
    X, y = blobs
    optimizer = keras.optimizers.Adam(0.05)
    clf = KerasClassifier(simple, optimizer=optimizer, epochs=10, random_state=0)
    first = clf.fit(X, y).predict_proba(X)
    assert not optimizer.built
    np.testing.assert_array_equal(clf.fit(X, y).predict_proba(X), first)
    np.testing.assert_array_equal(clone(clf).fit(X, y).predict_proba(X), first)


def test_meta(blobs):
    import pandas as pd

    seen = {}

    def build(meta, compile_kwargs, params):
        seen.update(meta)
        assert params["epochs"] == 1
        model = simple(meta)
        model.compile(**compile_kwargs)
        return model

    X, y = blobs
    labels = np.array(["a", "b", "c"])[y]
    KerasClassifier(build, loss="sparse_categorical_crossentropy", epochs=1).fit(
        pd.DataFrame(X, columns=list("wxyz")), labels
    )
    assert seen["n_features_in_"] == 4
    assert seen["X_shape_"] == (150, 4)
    assert seen["classes_"].tolist() == ["a", "b", "c"]
    assert (seen["n_classes_"], seen["target_type_"], seen["n_outputs_expected_"]) == (3, "multiclass", 1)
    assert seen["feature_names_in_"].tolist() == list("wxyz")
    assert seen["y_dtype_"].kind == "U"


# --- seeds


def dropping(meta):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(8, "relu"), layers.Dropout(0.5)])
    model.add(layers.Dense(3, "softmax"))
    return model


def test_seeds(blobs):
    X, y = blobs

    def fit(seed):
        return weights_of(KerasClassifier(dropping, epochs=2, random_state=seed).fit(X, y))

    np.testing.assert_array_equal(fit(1), fit(1))
    assert np.abs(fit(1) - fit(2)).max() > 1e-3
    np.testing.assert_array_equal(fit(np.random.RandomState(1)), fit(np.random.RandomState(1)))
    assert np.abs(fit(None) - fit(None)).max() > 1e-3
    unseeded = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        unseeded.append(fit(None))
    np.testing.assert_array_equal(*unseeded)


def test_seeding_leaves_no_trace(blobs):
    """What comes after a seeded fit is as if it had not been; and a plain, unseeded fit still works."""
    X, y = blobs

    def draws(fitted):
        keras.utils.set_random_seed(3)
        first = keras.random.normal((3,))
        if fitted:
            KerasClassifier(dropping, epochs=1, random_state=7).fit(X, y)
        plain = [keras.ops.convert_to_numpy(v) for v in (first, keras.random.normal((3,)))]
        if BACKEND == "tensorflow":
            import tensorflow as tf

            plain.append(tf.random.uniform((3,)).numpy())
        return [*plain, np.random.rand(3)]

    for a, b in zip(draws(False), draws(True), strict=True):
        np.testing.assert_array_equal(a, b)
    if BACKEND == "tensorflow":
        from tensorflow.python.framework import config

        assert not config.is_op_determinism_enabled()
    model = dropping(None)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.fit(X, y, verbose=0).history["loss"]).all()


def test_generators_come_back_after_a_failure(blobs):
    import random

    state = random.getstate()
    with pytest.raises(RuntimeError, match="as asked"):
        KerasClassifier(lambda: (_ for _ in ()).throw(RuntimeError("as asked")), random_state=0).fit(*blobs)
    assert random.getstate() == state
    assert keras.config.floatx() == "float32"


def test_double_precision_is_put_back(blobs):
    X, y = blobs
    clf = KerasClassifier(epochs=2, dtype="float64", random_state=0).fit(X.astype("float64"), y)
    assert {w.dtype.name for w in clf.model_.get_weights()} == {"float64"}
    assert keras.config.floatx() == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_threads(blobs):
    """Seeding is of the process, so that two fits at once must wait for each other."""
    from joblib import Parallel, delayed

    X, y = blobs
    one = weights_of(KerasClassifier(dropping, epochs=2, random_state=1).fit(X, y))
    fits = [delayed(KerasClassifier(dropping, epochs=2, random_state=1).fit)(X, y) for _ in range(3)]
    for clf in Parallel(n_jobs=3, backend="threading")(fits):
        np.testing.assert_array_equal(weights_of(clf), one)


# --- rows to watch


def test_validation_data(blobs):
    X, y = blobs
    labels = np.array(["a", "b", "c"])[y]
    clf = KerasClassifier(simple, metrics=["accuracy"], fit__validation_data=(X[:40], labels[:40]), epochs=3)
    twin = clone(clf).fit(X, labels)
    assert set(twin.history_) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert twin.history_["val_accuracy"][-1] == pytest.approx(twin.score(X[:40], labels[:40]))
    assert int(twin.model_.optimizer.iterations) == 3 * 5  # all 150 rows are trained on
    weight = np.repeat([0.0, 1.0], 20)
    weighted = clf.set_params(fit__validation_data=(X[:40], labels[:40], weight), random_state=0).fit(X, labels)
    half = clf.set_params(fit__validation_data=(X[20:40], labels[20:40])).fit(X, labels)
    assert weighted.history_["val_loss"] == pytest.approx(half.history_["val_loss"])
    with pytest.raises(ValueError, match="'d', which is not among the classes"):
        clf.set_params(fit__validation_data=(X[:1], ["d"])).fit(X, labels)
    with pytest.raises(TypeError, match=r"must be \(X, y\) or"):
        clf.set_params(fit__validation_data=X).fit(X, labels)


def test_validation_data_stops_the_default_model(line):
    X, y = line
    reg = KerasRegressor(mlp, fit__validation_data=(X[:20], -y[:20]), random_state=0).fit(X, y)
    assert reg.n_iter_ < _defaults.MAX_EPOCHS
    assert reg.n_iter_ == int(np.argmin(reg.history_["val_loss"])) + 1 + _defaults.PATIENCE


# --- rows of more than one dimension


@pytest.mark.parametrize("make", [KerasClassifier, KerasRegressor])
def test_rows_of_two_dimensions(make, rng):
    X = rng.normal(size=(60, 4, 3)).astype("float32")
    y = (X[:, 1, 2] > 0).astype(int)

    def build(meta):
        shape, units = meta["X_shape_"][1:], meta.get("n_classes_", 1)
        return keras.Sequential([layers.Input(shape), layers.Conv1D(8, 4), layers.Flatten(), layers.Dense(units)])

    clf = make(build, optimizer="adam", optimizer__learning_rate=0.02, epochs=40, random_state=0).fit(X, y)
    assert clf.predict(X).shape == (60,)
    assert clf.score(X, y) > 0.4
    assert clf.feature_importances_.shape == (12,)
    assert clf.feature_importances_.argmax() == 1 * 3 + 2
    assert clf.explain(X[:2]).values.shape[:2] == (2, 12)
    with pytest.raises(ValueError, match=r"rows of shape \(4, 2\), but Keras.* was fitted on rows of shape \(4, 3\)"):
        clf.predict(X[:, :, :2])
    with pytest.raises(ValueError, match="dim 3"):
        make().fit(X, y)


# --- what follows parameters


def test_importances_follow_the_attribution(blobs):
    clf = KerasClassifier(simple, epochs=1, random_state=0).fit(*blobs)
    first = clf.feature_importances_
    clf.set_params(attribution="saliency")
    second = clf.feature_importances_
    assert clf.importances_.strategy != "expected_gradients"
    assert np.abs(second - first).max() > 1e-3
    np.testing.assert_array_equal(clf.set_params(attribution="expected_gradients").feature_importances_, first)


def test_a_new_fit_has_a_new_network(blobs):
    X, y = blobs
    clf = KerasClassifier(simple, epochs=3, warm_start=True, random_state=0).fit(X, y)
    before, importances = clf.predict_proba(X), clf.feature_importances_
    clf.fit(X, y)
    assert np.abs(clf.predict_proba(X) - before).max() > 1e-3
    assert np.abs(clf.feature_importances_ - importances).max() > 1e-5
    np.testing.assert_allclose(clf.predict_proba(X), keras.ops.convert_to_numpy(clf.model_(X)), atol=1e-5)


def test_digits_far_from_zero_are_kept_in_float64(line):
    X, y = line[0].astype(float), line[1].astype(float)
    far = X + np.array([1e7, 0.0, -1e9])
    reg = KerasRegressor(dtype="float64", epochs=60, model__hidden=(16,), random_state=0)
    plain = reg.fit(X, y).score(X, y)
    assert plain > 0.97
    assert reg.fit(far, y + 1e8).score(far, y + 1e8) == pytest.approx(plain, abs=1e-2)
    assert reg.feature_importances_[0] > reg.feature_importances_[1] > reg.feature_importances_[2]
