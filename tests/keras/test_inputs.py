"""Models of several inputs."""

import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers, ops

import skexplain
from skexplain._inputs import Inputs
from skexplain.exceptions import UnsupportedModelError
from skexplain.keras import KerasClassifier, KerasRegressor
from skexplain.keras._network import ending_of, keras_network
from skexplain.keras._table import TakesTable

QUICK = {"optimizer": "adam", "optimizer__learning_rate": 0.02, "epochs": 20, "random_state": 0}


def data(n=150):
    rng = np.random.default_rng(0)
    codes, numbers = rng.integers(6, size=(n, 1)), rng.normal(size=(n, 2)).astype(np.float32)
    return codes, numbers, 3.0 * (codes[:, 0] == 2) + 0.5 * numbers[:, 1]


def tabular(units=1, ending=None, structure=list):
    codes, numbers = layers.Input((1,), dtype="int32", name="kind"), layers.Input((2,), name="size")
    h = layers.Concatenate()([layers.Flatten()(layers.Embedding(6, 3)(codes)), numbers])
    out = layers.Dense(units, ending)(layers.Dense(16, "relu")(h))
    return keras.Model([codes, numbers] if structure is list else {"kind": codes, "size": numbers}, out)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.out = layers.Embedding(6, 3), layers.Dense(16, "relu"), layers.Dense(1)

    def call(self, inputs):
        codes, numbers = inputs.values() if isinstance(inputs, dict) else inputs
        assert "int" in str(codes.dtype)
        return self.out(self.hidden(ops.concatenate([self.table(codes[:, 0]), numbers], 1)))


class OfTwoArguments(Subclassed):
    def call(self, codes, numbers):
        return super().call((codes, numbers))


@pytest.mark.parametrize("layout", ["tuple", "names"])
def test_estimators(layout):
    codes, numbers, y = data()
    X = (codes, numbers) if layout == "tuple" else {"size": numbers, "kind": codes}
    net = KerasRegressor(tabular, **QUICK).fit(X, y)
    assert net.score(X, y) > 0.9
    code = "input 0" if layout == "tuple" else "kind"
    assert net.importances_.names[net.importances_.ranking[0]] == code
    raw = skexplain.importances(net.model_, X, attribution="ablation")
    assert raw.names[raw.ranking[0]] == code
    by_loss = net.importances(X, y, attribution="permutation")
    assert by_loss.names[by_loss.ranking[0]] == code
    np.testing.assert_allclose(pickle.loads(pickle.dumps(net)).predict(X), net.predict(X), rtol=1e-5)


def test_classes_and_a_last_activation():
    codes, numbers, y = data()
    labels = np.where(y > 1, "high", "low")
    net = KerasClassifier(tabular, model__units=2, model__ending="softmax", **QUICK).fit((codes, numbers), labels)
    assert net.score((codes, numbers), labels) > 0.9
    layout = Inputs.of((codes, numbers))
    reading = TakesTable(net.model_, layout)
    assert ending_of(reading, layout.table((codes, numbers)))[0] == "softmax"
    exp = net.explain((codes[:5], numbers[:5]), attribution="integrated_gradients", target="high")
    np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, exp.predictions, atol=0.01)


def test_as_a_fitted_estimator():
    codes, numbers, y = data()
    model = tabular(structure=dict)
    X = {"size": pd.DataFrame(numbers, columns=["length", "width"]), "kind": pd.DataFrame(codes, columns=["kind"])}
    net = skexplain.from_fitted(model, X, y, random_state=0)
    assert net.feature_names_in_.tolist() == ["length", "width", "kind"]
    table = np.column_stack([numbers, codes])
    want = keras.ops.convert_to_numpy(model({"kind": codes, "size": numbers}))[:, 0]
    np.testing.assert_allclose(net.predict(X), want, rtol=1e-5)
    np.testing.assert_allclose(net.predict(table), want, rtol=1e-5)


@pytest.mark.parametrize("kind", [Subclassed, OfTwoArguments])
@pytest.mark.parametrize("named", [False, True])
def test_subclassed(kind, named):
    codes, numbers, _ = data()
    model = kind()
    want = model(codes, numbers) if kind is OfTwoArguments else model([codes, numbers])
    X = {"codes": codes, "numbers": numbers} if named else (codes, numbers)
    layout = Inputs.of(X)
    rows = layout.table(X)
    network = keras_network(model, rows, inputs=layout, regression=True)
    np.testing.assert_allclose(network.predict(rows), keras.ops.convert_to_numpy(want), rtol=1e-4, atol=1e-6)
    assert network.embedded(rows).owners.tolist() == [1, 2, 0, 0, 0]


def test_the_model_is_as_it_was():
    codes, numbers, _ = data()
    model = tabular()
    parts = (model, *model._flatten_layers())
    before = [(set(vars(part)), len(part._inbound_nodes)) for part in parts]
    skexplain.explain(model, (codes[:9], numbers[:9]), attribution="deeplift")
    assert [(set(vars(part)), len(part._inbound_nodes)) for part in parts] == before


def test_numbers_that_are_whole_have_slopes_where_the_model_reads_numbers():
    a, b = layers.Input((2,)), layers.Input((1,))
    model = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    whole = np.arange(8).reshape(4, 2)
    exp = skexplain.explain(model, (whole, np.ones((4, 1))), attribution="integrated_gradients")
    assert (np.abs(exp.values[:, :2]).max(axis=0) > 0).all()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (lambda c, x: (c, x, x), "has 2 inputs, but X has 3"),
        (lambda c, x: {"kind": c, "weight": x}, r"named \['kind', 'size'\], but those of X \['kind', 'weight'\]"),
    ],
)
def test_other_inputs_than_the_model_has(X, message):
    codes, numbers, _ = data()
    with pytest.raises(ValueError, match=message):
        skexplain.explain(tabular(), X(codes, numbers))


def test_a_table_for_two_inputs():
    codes, numbers, _ = data()
    with pytest.raises(UnsupportedModelError, match="2 inputs, but X is one table; pass a dict or tuple"):
        skexplain.explain(tabular(), np.column_stack([codes, numbers]))
