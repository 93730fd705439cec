"""A matrix in front of a Keras model."""

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline

import skexplain

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)) + 4).astype(np.float32)


def model(kind):
    keras.utils.set_random_seed(1)
    layers = {
        "dense": [keras.layers.Dense(6, "tanh")],
        "normalised": [keras.layers.Dense(6, "gelu"), keras.layers.LayerNormalization()],
    }[kind]
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])


@pytest.mark.parametrize(
    ("kind", "attributions"),
    [
        ("dense", ["integrated_gradients", "expected_gradients", "deepshap", "deeplift", "saliency", "lrp"]),
        ("normalised", ["deeplift"]),  # a graph for each takes its time
    ],
)
def test_pca_is_a_layer_in_front(kind, attributions):
    pca, net, layer = PCA(3).fit(X.astype(float)), model(kind), keras.layers.Dense(3)
    merged = keras.Sequential([keras.Input((5,)), layer, net])
    layer.set_weights([pca.components_.T, -pca.components_ @ pca.mean_])
    pipe, weights = Pipeline([("pca", pca), ("net", net)]), [np.array(w) for w in net.get_weights()]
    for attribution in attributions:
        got, expected = (
            skexplain.explain(m, X[:20], background=X, attribution=attribution, random_state=0) for m in (pipe, merged)
        )
        size = np.abs(expected.values).max()
        np.testing.assert_allclose(got.values, expected.values, atol=1e-3 * size, err_msg=attribution)
    for before, after in zip(weights, net.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_estimators_behind_a_pca():
    y = np.where(X[:, 0] > 4, "high", "low")
    net = skexplain.keras.KerasClassifier(epochs=2, random_state=0)
    pipe = make_pipeline(PCA(3), net).fit(X, y)
    got = skexplain.explain(pipe, X, attribution="integrated_gradients", random_state=0)
    assert got.shape == (60, 5)
    np.testing.assert_allclose(got.base_values + got.values.sum(axis=1), got.predictions, atol=1e-3)
    assert skexplain.importances(pipe, X, random_state=0).normalized.sum() == pytest.approx(1)
