"""The default model: the same as its twin in torch, gates that close, a sparsity that is chosen, members apart."""

import keras
import numpy as np
import pytest
from keras import layers

import skexplain
from skexplain import _defaults
from skexplain.keras import (
    ColumnGatedMLP,
    EncodeNumbers,
    GatedDense,
    KerasClassifier,
    KerasRegressor,
    column_gated_mlp,
    mlp,
)
from skexplain.keras._base import train
from skexplain.keras._network import keras_network
from skexplain.keras._sparsity import SparsityPath, row_losses
from skexplain.keras._training import Rows, Schedule

from .conftest import BACKEND

RNG = np.random.default_rng(0)


def array(v):
    return np.array(keras.ops.convert_to_numpy(v))


def table(n=60, d=4):
    """Numbers in the first columns; a constant column, and a last one of codes."""
    X = RNG.normal(size=(n, d)).astype("float32")
    X[:, 1] = 2.5
    X[:, -1] = RNG.integers(0, 5, size=n)
    return X


def built(X, codes=None, **params):
    """The model as the estimators build it, with gates that differ."""
    from skexplain.keras._default import standardise

    model = column_gated_mlp({"n_features_in_": X.shape[1], "n_outputs_": 2, "cardinalities_": codes}, **params)
    y = np.stack([X[:, 0], 5 - X[:, 2]], axis=1)
    standardise(model, X, y, None, sorted(codes or ()))
    gate = model.gated_layer.gate
    gate.assign(RNG.normal(size=gate.shape))
    return model, y


# --- the twin


def to_torch(model, X, y, codes, **params):
    """`skexplain.torch.ColumnGatedMLP` with the weights of the model."""
    torch = pytest.importorskip("torch")
    from skexplain._data import standardisation
    from skexplain._pieces import quantiles
    from skexplain.torch import ColumnGatedMLP as Twin

    (mean, scale), (target_mean, target_scale) = standardisation(X), standardisation(y)
    learned = {"mean": mean, "scale": scale, "edges": quantiles(X), "cardinalities": codes}
    twin = Twin(X.shape[1], 2, **learned, target_mean=target_mean, target_scale=target_scale, **params)
    weights = {}
    for theirs, ours in zip(
        [m for m in twin if m.state_dict()], [layer for layer in model.layers if layer.weights], strict=True
    ):
        name = next(n for n, m in twin.named_children() if m is theirs)
        for key, value in theirs.state_dict().items():
            if key.startswith("tables."):
                new = array(ours.tables[int(key.split(".")[1])].embeddings)
            elif key == "owners":
                new = np.array(ours.owners)
            elif key == "rest":  # what float32 leaves of a shift
                new = np.zeros(value.shape)
            else:
                new = array(getattr(ours, {"weight": "kernel"}.get(key, key)))
                new = np.swapaxes(new, -1, -2) if key == "weight" else new
            weights[f"{name}.{key}"] = torch.as_tensor(new.reshape(value.shape))
    twin.load_state_dict(weights)
    return twin.eval()


@pytest.mark.parametrize(
    ("codes", "params"),
    [(None, {}), ({3: 5}, {}), (None, {"n_ensemble": 3}), ({3: 5}, {"n_ensemble": 2, "activation": "tanh"})],
)
def test_the_twin_has_the_same_outputs(codes, params):
    import torch

    X = table()
    model, y = built(X, codes, hidden=(6, 5), **params)
    twin = to_torch(model, X, y, codes, hidden=(6, 5), **params)
    rows = X.copy()
    rows[:, :3] *= 3  # also outside of the range
    with torch.no_grad():
        np.testing.assert_allclose(array(model(rows)), twin(torch.as_tensor(rows)).numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.gates_, twin.gates_, rtol=1e-6)


# --- gates


def soft(w, by):
    return np.sign(w) * np.maximum(np.abs(w) - by, 0)


def one_layer(sparsity, optimizer):
    """Two columns of numbers behind a gate each; the loss is 0 and so is its slope, so that all is the penalty."""
    model = ColumnGatedMLP([layers.Input((2,)), GatedDense(1, [0, 1], sparsity=sparsity)])
    model.gated_layer.gate.assign([[0.5, -0.05]])
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize("by_fit", [True, False])
def test_the_proximal_step_is_a_soft_threshold(by_fit):
    X = np.zeros((8, 2), "float32")
    model = one_layer(2.0, keras.optimizers.SGD(0.01))
    y = np.full((8, 1), array(model.gated_layer.bias)[0], "float32")
    if by_fit:
        model.fit(X, y, epochs=2, batch_size=4, verbose=0)
    else:
        train(model, Rows(X, y, None), None, Schedule(2, 4, 4), [])
    np.testing.assert_allclose(array(model.gated_layer.gate), soft(np.array([[0.5, -0.05]]), 4 * 0.02), rtol=1e-5)
    model.sparsity = 0.0
    before = array(model.gated_layer.gate)
    model.fit(X, y, verbose=0)
    np.testing.assert_array_equal(array(model.gated_layer.gate), before)
    model.sparsity = 1.0
    model.shrink_gates(0.1)
    np.testing.assert_allclose(array(model.gated_layer.gate), soft(before, 0.1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["schedule", "accumulated"])
def test_the_current_learning_rate_counts(kind):
    X = np.zeros((4, 2), "float32")
    if kind == "schedule":
        optimizer = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.01, 1, 0.5))
        by = 2 * (0.01 + 0.005 + 0.0025 + 0.00125)
    else:
        optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
        by = 2 * 2 * 0.01
    model = one_layer(2.0, optimizer)
    y = np.full((4, 1), array(model.gated_layer.bias)[0], "float32")
    model.fit(X, y, epochs=4, batch_size=4, verbose=0)
    np.testing.assert_allclose(array(model.gated_layer.gate), soft(np.array([[0.5, -0.05]]), by), rtol=1e-5)


def xor(n, d):
    X = RNG.normal(size=(n, d)).astype("float32")
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def test_gates_of_noise_close():
    X, y = xor(400, 8)
    clf = KerasClassifier(random_state=0, model__hidden=(32,)).fit(X, y)
    gates = clf.model_.gates_
    assert gates[:2].min() > 4 * gates[2:].max()
    assert set(clf.feature_importances_.argsort()[-2:]) == {0, 1}
    assert clf.model_.sparsity in _defaults.SPARSITIES
    history = clf.history_
    assert len(history["sparsity"]) == len(history["val_loss"]) == clf.n_iter_
    assert list(dict.fromkeys(history["sparsity"])) == pytest.approx(_defaults.SPARSITIES)


def test_gates_of_constant_columns_are_closed():
    X = table(50)
    reg = KerasRegressor(epochs=2, model__hidden=(3,), categorical=[3], attribution="gates", random_state=0)
    importances = reg.fit(X, X[:, 0]).feature_importances_
    assert (importances > 0).tolist() == [True, False, True, True]
    np.testing.assert_allclose(importances, reg.model_.gates_ / reg.model_.gates_.sum(), rtol=1e-6)
    binary = np.where(X > 0, 1.0, 0.0)  # of whose pieces most have no width
    kernel = array(KerasRegressor(epochs=2, random_state=0).fit(binary, X[:, 0]).model_.gated_layer.kernel)
    assert (kernel[:9] != 0).any(axis=1).sum() == 2


# --- the path


class Path(SparsityPath):
    """A path whose losses are given."""

    def __init__(self, rows, figures):
        super().__init__(rows)
        self.figures, self.states = list(figures), []

    def _begin(self):
        super()._begin()
        optimizer = self.model.optimizer
        self.states.append([array(v) for v in optimizer.variables if v is not optimizer._learning_rate])

    def _finish(self):
        super()._finish()
        mean, error = self.figures[len(self.tried) - 1]
        n = len(self.rows.X)
        self.tried[-1] = self.tried[-1]._replace(losses=mean + error * np.sqrt(n) * (-1.0) ** np.arange(n))


@pytest.mark.parametrize(
    ("figures", "chosen"),
    [
        ([(1.0, 0.1), (0.6, 0.1), (0.55, 0)], 1),
        ([(0.6, 0.1), (0.6, 0.1), (0.55, 0)], 0),
        ([(0.6, 0.1), (0.6, 0.1), (0.55, 0.1)], 2),  # the same rows are hard for all: the difference has no error
        ([(1, 0), (0.9, 0), (0.8, 0)], 2),
    ],
)
def test_the_largest_sparsity_within_one_standard_error_is_taken(monkeypatch, figures, chosen):
    monkeypatch.setattr(_defaults, "SPARSITIES", (2.0, 1.0, 0.5))
    monkeypatch.setattr(_defaults, "MAX_EPOCHS", 2)
    X = table(40)
    model, y = built(X, hidden=(3,))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    rows = Rows(X, y.astype("float32"), None)
    path = Path(rows, figures)
    history = train(model, rows, rows, Schedule(6, 20, 20), [path])
    assert history["sparsity"] == [2.0, 2.0, 1.0, 1.0, 0.5, 0.5]
    assert model.sparsity == path.tried[chosen].sparsity == (2.0, 1.0, 0.5)[chosen]
    for weight, kept in zip(model.get_weights(), path.tried[chosen].weights, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert len(path.states) == 3
    for state in path.states:  # of an optimizer that has made no step
        assert not any(v.any() for v in state)


def test_a_callback_of_the_users_ends_the_path(monkeypatch):
    monkeypatch.setattr(_defaults, "MAX_EPOCHS", 3)

    class Ending(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 3

    X, y = xor(120, 3)
    clf = KerasClassifier(model__hidden=(3,), callbacks=Ending(), random_state=0).fit(X, y)
    assert clf.n_iter_ == 4
    assert clf.model_.sparsity in _defaults.SPARSITIES[:2]


def test_row_losses_are_the_models_loss():
    X = table(50)
    weight = RNG.uniform(0.5, 2, 50).astype("float32")
    for loss, y in (
        ("mse", built(X)[1]),
        (keras.losses.CategoricalCrossentropy(from_logits=True), np.eye(2)[X[:, 3].astype(int) % 2]),
    ):
        model, _ = built(X, hidden=(3,))
        model.compile("sgd", loss)
        y = y.astype("float32")
        losses, w = row_losses(model, Rows(X, y, weight))
        wanted = model.evaluate(X, y, sample_weight=weight / weight.mean(), batch_size=50, verbose=0)
        assert losses.shape == w.shape == (50,)
        np.testing.assert_allclose(np.average(losses, weights=w), wanted, rtol=1e-4)


def test_no_path_without_rows_held_out():
    X, y = xor(60, 3)
    few = KerasClassifier(model__hidden=(3,), epochs=2, random_state=0).fit(X, y)
    assert "sparsity" not in few.history_
    assert few.model_.sparsity == 0
    fixed = KerasClassifier(model__hidden=(3,), model__sparsity=0.5, epochs=2, random_state=0).fit(X, y)
    assert fixed.model_.sparsity == 0.5


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are TensorFlow's")
def test_the_path_traces_no_graph_anew(monkeypatch):
    from skexplain.keras import _epochs

    monkeypatch.setattr(_defaults, "MAX_EPOCHS", 1)
    _epochs._KEPT.clear()
    traced = []
    monkeypatch.setattr(_epochs, "_traced", lambda *args, own=_epochs._traced: traced.append(1) or own(*args))
    X, y = xor(120, 3)
    for seed in (0, 1):
        KerasClassifier(model__hidden=(3,), random_state=seed).fit(X, y)
    assert len(traced) == len(_epochs._KEPT) == 2  # of training and of testing


# --- members


def test_members_train_as_they_would_alone():
    """Each gets the steps that it would get alone, gates too."""
    X = table(32)
    together, y = built(X, hidden=(5, 4), n_ensemble=2, sparsity=0.5)
    y = ((y - y.mean(axis=0)) / y.std(axis=0)).astype("float32")
    alone = [built(X, hidden=(5, 4), sparsity=0.5)[0] for _ in range(2)]
    for k, model in enumerate(alone):
        of_both, of_one = together.gated_layer, model.gated_layer
        of_one.gate.assign(array(of_both.gate)[k : k + 1])
        of_one.kernel.assign(array(of_both.kernel).reshape(-1, 2, 5)[:, k])
        of_one.bias.assign(array(of_both.bias).reshape(2, 5)[k])
        for a, b in zip(together.layers[2:4], model.layers[2:4], strict=True):
            b.set_weights([v[k] for v in a.get_weights()])
    weight = RNG.uniform(0.5, 2, 32).astype("float32")
    losses = []
    for model in (together, *alone):
        model.layers[-1].set_weights([np.zeros(2), np.ones(2)])
        model.compile(keras.optimizers.SGD(0.05, momentum=0.5), "mse")
        history = train(model, Rows(X, y, weight), None, Schedule(3, 8, 8, shuffle=False), [])
        losses.append(history["loss"])
    np.testing.assert_allclose(losses[0], np.mean(losses[1:], axis=0), rtol=1e-5)
    mean = np.mean([array(model(X)) for model in alone], axis=0)
    np.testing.assert_allclose(array(together(X)), mean, rtol=1e-4, atol=1e-5)
    assert not np.allclose(array(alone[0](X)), mean, atol=1e-2)


def test_an_ensemble_scores_its_mean(blobs):
    X, y = blobs
    clf = KerasClassifier(model__n_ensemble=2, model__hidden=(4,), metrics=["accuracy"], epochs=1, batch_size=-1)
    clf.set_params(optimizer="sgd", optimizer__learning_rate=1e-9, random_state=0).fit(X, y)
    assert clf.history_["accuracy"] == pytest.approx([clf.score(X, y)])


# --- behind the boundary


@pytest.mark.parametrize("params", [{}, {"n_ensemble": 2}, {"activation": "gelu", "n_ensemble": 2}])
@pytest.mark.parametrize("codes", [None, {3: 5}])
def test_attributions_behind_the_encoding_are_complete(codes, params):
    X = table(40)
    model, _ = built(X, codes, hidden=(6, 5), **params)
    before = [array(v) for v in model.variables]
    network = keras_network(model, X, regression=True)
    whole = network.predict(X)
    np.testing.assert_allclose(whole, array(model(X)), rtol=1e-4, atol=1e-5)
    if codes:
        embedded = network.embedded(X)
        Z, owners, network = embedded.checked(X), embedded.owners, embedded.network
    else:
        Z, owners = X, np.arange(4)
    encoded = network.encoded()
    V = encoded.checked(Z)
    assert set(owners[encoded.owners]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(encoded.network.in_front[1], owners[encoded.owners])
    target, nodes = np.zeros(len(X), int), (np.arange(400) + 0.5) / 400
    mean = encoded.network.mean_gradient(V[:1], V, nodes, np.full(400, 1 / 400), target)
    np.testing.assert_allclose((mean * (V - V[:1])).sum(axis=1), whole[:, 0] - whole[0, 0], atol=2e-2)
    for v, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(array(v), old)
    model.gated_layer.gate.assign(0 * model.gated_layer.gate)  # the model may be given other weights
    again = keras_network(model, X, regression=True).embedded(X).network if codes and BACKEND == "torch" else network
    moved = again.encoded().network.predict(V)
    np.testing.assert_allclose(moved, np.broadcast_to(array(model(X[:1])), moved.shape), rtol=1e-4, atol=1e-5)


def test_replacing_a_column_changes_its_own_numbers_only():
    X = table(20)
    model, _ = built(X, hidden=(6,))
    network = keras_network(model, X, regression=True)
    groups, coalitions = [np.array([0]), np.array([1, 3])], np.array([[True, False], [True, True]])
    out = network.predict_replaced(X, X[::-1], groups, coalitions)
    for k, columns in enumerate(([0], [0, 1, 3])):
        rows = X.copy()
        rows[:, columns] = X[::-1][:, columns]
        np.testing.assert_allclose(out[k], array(model(rows)), rtol=1e-4, atol=1e-4)
    X = X + 0.0137  # away from the edges, which are values of X
    target, h = np.arange(20) % 2, 1e-3
    slopes = network.gradient(X, target)
    change = network.predict(X + h * np.eye(4, dtype="float32")[2]) - network.predict(X)
    np.testing.assert_allclose(slopes[:, 2], change[np.arange(20), target] / h, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "name", ["expected_gradients", "deeplift", "lrp", "connection_weights", "kernel_shap", "permutation"]
)
def test_strategies(name, line):
    X, y = line
    reg = KerasRegressor(model__hidden=(8,), epochs=30, random_state=0, attribution=name).fit(X, y)
    assert reg.feature_importances_.argmax() == 0


# --- what is learned and kept


def test_the_encoding_is_learned_with_weights():
    X = np.array([[0.0], [1.0], [2.0], [10.0]], "float32")
    a, b = (EncodeNumbers(bins=2) for _ in range(2))
    for layer in (a, b):
        layer.build((None, 1))
    a.learn(X, np.array([1.0, 2.0, 1.0, 0.0]))
    b.learn(X[[0, 1, 1, 2]])
    for u, v in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(u, v)
    np.testing.assert_allclose(array(a(X))[:, 1], [-0.25, 0.25, 0.25, 0.25])


def test_tables_of_every_size():
    """One column; fewer rows than pieces, one column of them constant."""
    for X, dtype in ((np.arange(20.0)[:, None], "float32"), (np.arange(6.0).reshape(3, 2) * [1, 0], "float64")):
        reg = KerasRegressor(epochs=1, model__hidden=(3,), dtype=dtype, random_state=0).fit(X, np.arange(len(X)))
        assert np.isfinite(reg.predict(X)).all()
        assert reg.feature_importances_.shape == (X.shape[1],)


def test_files(tmp_path, blobs):
    X, y = blobs
    clf = KerasClassifier(epochs=2, model__hidden=(4,), model__n_ensemble=2, model__sparsity=0.5, random_state=0)
    clf.fit(X, y)
    skexplain.save(clf, tmp_path / "clf.skx")
    again = skexplain.load(tmp_path / "clf.skx")
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert again.model_.sparsity == clf.model_.sparsity == 0.5
    clf.model_.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert type(model) is ColumnGatedMLP
    np.testing.assert_allclose(array(model(X)), array(clf.model_(X)), rtol=1e-6)
    gate = array(model.gated_layer.gate)
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, y, epochs=1, batch_size=150, verbose=0)
    assert np.abs(array(model.gated_layer.gate) - gate).max() > 1e-4


def test_the_plain_network_is_trained_the_same_way(blobs):
    """Without gates there is no sparsity to be tried."""
    X, y = blobs[0], RNG.integers(0, 2, size=150)
    clf = KerasClassifier(mlp, random_state=0).fit(X, y)
    assert clf.n_iter_ == int(np.argmin(clf.history_["val_loss"])) + 1 + _defaults.PATIENCE
    assert type(clf.model_.optimizer).__name__ == "Adam"
    assert "sparsity" not in clf.history_


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hidden": ()}, "hidden=\\(\\) leaves no hidden layer; use model=mlp"),
        ({"hidden": (3, 0)}, "hidden=\\(3, 0\\) has a width below 1"),
        ({"n_ensemble": 0}, "n_ensemble=0 must be a whole number"),
        ({"sparsity": -1}, "sparsity=-1 must be 'auto' or"),
        ({"sparsity": "much"}, "sparsity='much' must be 'auto' or"),
    ],
)
def test_what_cannot_be_built(params, message):
    with pytest.raises(ValueError, match=message):
        column_gated_mlp({"n_features_in_": 2, "n_outputs_": 1}, **params)
