"""Fitted estimators of scikeras and of Keras itself are explained as the models in them."""

import keras
import numpy as np
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain

from .conftest import BACKEND

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3)).astype("float32")
LABELS = np.array(["no", "yes", "perhaps"])[np.digitize(X[:, 0], [-0.5, 0.5])]


def build_classifier(loss="sparse_categorical_crossentropy"):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.1), loss)
    return model


def build_regressor():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def from_keras(X, y, kind, **params):
    # the function gets X and y, the latter in one-hot rows
    def model(X, y):
        return (
            build_classifier("categorical_crossentropy") if kind.__name__ == "SKLearnClassifier" else build_regressor()
        )

    return kind(model, fit_kwargs={"epochs": 15, "verbose": 0}, **params).fit(X, y)


def check_classifier(fitted, X=X):
    est = skexplain.from_fitted(fitted, X, LABELS, random_state=0)
    assert is_classifier(est)
    assert est.classes_.tolist() == ["no", "perhaps", "yes"]
    np.testing.assert_array_equal(est.predict(X), np.ravel(fitted.predict(X)))
    assert est.feature_importances_.argmax() == 0
    assert skexplain.explain(fitted, X[:4], background=X, target="yes", random_state=0).shape == (4, 3)


@pytest.mark.filterwarnings("ignore")  # of the wrappers
def test_keras_wrappers():
    from keras.wrappers import SKLearnClassifier, SKLearnRegressor

    check_classifier(from_keras(X, LABELS, SKLearnClassifier))
    y = X[:, 0] - 2 * X[:, 1]
    reg = from_keras(X, y, SKLearnRegressor)
    est = skexplain.from_fitted(reg, X, y, random_state=0)
    assert is_regressor(est)
    assert est.feature_importances_.argmax() == 1
    np.testing.assert_allclose(est.predict(X), np.ravel(reg.predict(X)), rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # of scikeras
@pytest.mark.skipif(BACKEND != "tensorflow", reason="scikeras is for TensorFlow")
def test_scikeras():
    from scikeras.wrappers import KerasClassifier, KerasRegressor

    clf = KerasClassifier(build_classifier, epochs=15, verbose=0).fit(X, LABELS)
    check_classifier(clf)
    y = X[:, 0] - 2 * X[:, 1]
    reg = KerasRegressor(build_regressor, epochs=15, verbose=0).fit(X, y)
    imp = skexplain.importances(reg, X, y, attribution="permutation", random_state=0)
    assert imp.ranking.tolist()[:2] == [1, 0]
    pipe = make_pipeline(StandardScaler(), KerasClassifier(build_classifier, epochs=15, verbose=0)).fit(X, LABELS)
    assert skexplain.importances(pipe, X, LABELS, random_state=0).ranking[0] == 0
