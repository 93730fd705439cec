"""Models of the same making share graphs, and train as by ``Model.fit`` all the same."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers

from skexplain.keras import KerasClassifier, Standardise, column_gated_mlp
from skexplain.keras._training import Rows, Schedule, _make_variables, train

from .conftest import BACKEND
from .test_training import Seeing

if BACKEND != "tensorflow":
    pytest.skip("graphs are TensorFlow's", allow_module_level=True)

from skexplain.keras import _epochs
from skexplain.keras._making import MOST_NUMBERS, making

D = 4


@pytest.fixture
def rows(rng):
    X = rng.normal(size=(70, D)).astype("float32")
    y = (X[:, 0] > X[:, 1]).astype("float32").reshape(-1, 1)
    return Rows(X, y, None)


@pytest.fixture(autouse=True)
def _none_kept():
    _epochs._KEPT.clear()


def mlp(*hidden, ending="sigmoid", optimizer="adam", loss="binary_crossentropy", metrics=("accuracy",), **more):
    parts = hidden or (layers.Dense(8, "relu"),)
    model = keras.Sequential([layers.Input((D,)), *parts, layers.Dense(1, ending)])
    model.compile(optimizer, loss, metrics=list(metrics), **more)
    return model


def wired(crossed=False):
    x = layers.Input((D,))
    a, b = layers.Dense(6, "relu")(x), layers.Dense(6, "tanh")(x)
    out = layers.Subtract()([b, a] if crossed else [a, b])
    model = keras.Model(x, layers.Dense(1, "sigmoid")(layers.Concatenate()([out, x])))
    model.compile("adam", "binary_crossentropy")
    return model


def convolutional():
    parts = layers.Reshape((D, 1)), layers.Conv1D(3, 2, activation="relu"), layers.MaxPooling1D(2), layers.Flatten()
    return mlp(*parts, optimizer=keras.optimizers.RMSprop(0.01))


def frozen():
    model = mlp(layers.Dense(8, "relu"), layers.Dense(8, "tanh"))
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    return model


def clipped():
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=0.5, use_ema=True)
    return mlp(layers.Dense(8, "relu", kernel_constraint="max_norm", kernel_regularizer="l2"), optimizer=optimizer)


def scheduled():
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    loss = keras.losses.BinaryCrossentropy(label_smoothing=0.1)
    return mlp(optimizer=keras.optimizers.SGD(rate, momentum=0.9), loss=loss, loss_weights=[2.0])


def random():
    noise = layers.Dropout(0.5), layers.GaussianNoise(0.1)
    return mlp(Standardise(), layers.Dense(8), *noise, layers.BatchNormalization(), layers.PReLU())


def gated():
    model = column_gated_mlp({"n_features_in_": D, "n_outputs_": 1}, hidden=(5, 4), sparsity=0.5, n_ensemble=2)
    model.layers[0].learn(np.random.default_rng(1).normal(size=(50, D)))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


TRAINED = {"mlp": mlp, "functional": wired, "random": random, "clipped": clipped, "scheduled": scheduled}
TRAINED |= {"gated": gated}
SHARED = TRAINED | {"convolutional": convolutional, "frozen": frozen}


def state(model):
    return [*model.variables, *model.optimizer.variables]


def set_state(model, values):
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(state(model), values, strict=True):
        variable.assign(value)


def values(model):
    model.optimizer.build(model.trainable_variables)
    return [np.array(v) for v in state(model)]


@pytest.mark.parametrize("name", TRAINED)
def test_a_later_model_trains_as_by_model_fit(rows, name):
    keras.utils.set_random_seed(0)
    first, ours, theirs = (TRAINED[name]() for _ in range(3))
    weight = np.linspace(0.5, 2, 70).astype("float32")
    weighted = Rows(rows.X, rows.y, weight / weight.mean() if name == "mlp" else None)
    # a whole batch at a time for weights, as ours are the weighted mean of a batch
    schedule = Schedule(epochs=3, batch_size=70 if name == "mlp" else 16, validation_batch_size=16, shuffle=False)
    held_out = Rows(rows.X[:30], rows.y[:30], None)
    train(first, weighted, held_out, schedule, [])
    kept = list(_epochs._KEPT.values())
    assert len(kept) == 2
    before = values(ours)
    set_state(theirs, before)
    set_state(first, before)
    if not isinstance(ours.optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        theirs.optimizer.learning_rate = ours.optimizer.learning_rate = 0.005
    history = train(ours, weighted, held_out, schedule, [])
    assert list(_epochs._KEPT.values()) == kept
    wanted = theirs.fit(
        rows.X,
        rows.y,
        sample_weight=weighted.weight,
        batch_size=schedule.batch_size,
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=held_out[:2],
        validation_batch_size=16,
    ).history
    assert history.keys() == wanted.keys()
    for key, numbers in wanted.items():
        np.testing.assert_allclose(history[key], numbers, rtol=1e-4, atol=1e-5, err_msg=key)
    for a, b in zip(values(ours), values(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    for a, b in zip(values(first), before, strict=True):  # the first model has nothing to do with it
        np.testing.assert_array_equal(a, b)


def test_a_later_models_steps_are_seen_by_the_same_graph(rows):
    schedule = Schedule(epochs=2, batch_size=16, validation_batch_size=16)
    first, second = Seeing(), Seeing()
    train(mlp(Standardise(), layers.Dense(3)), rows, None, schedule, [first])
    (kept,) = _epochs._KEPT.values()
    model = mlp(Standardise(), layers.Dense(3))
    train(model, rows, None, schedule, [second])
    assert list(_epochs._KEPT.values()) == [kept]
    assert len(second.seen) == 10
    np.testing.assert_array_equal(second.seen[-1], model.layers[1].get_weights()[0].ravel())
    assert np.abs(second.seen[-1] - first.seen[-1]).max() > 0
    train(model, rows, None, schedule, [])  # by another graph, which gives nothing back
    assert len(_epochs._KEPT) == 2


def key(model, rows, step="train_step"):
    _make_variables(model, rows)
    return making(model, getattr(model, step), _epochs.variables_of(model))


def renamed():
    x = layers.Input((D,), name="in")
    a, b = layers.Dense(6, "relu", name="tanh")(x), layers.Dense(6, "tanh")(x)
    model = keras.Model(x, layers.Dense(1, "sigmoid")(layers.Concatenate()([layers.Subtract()([a, b]), x])))
    model.compile("adam", "binary_crossentropy")
    return model


def test_equal_keys(rows):
    for name, build in SHARED.items():
        assert key(build(), rows) == key(build(), rows) is not None, name
    assert key(wired(), rows) == key(renamed(), rows)
    rates = (mlp(optimizer=keras.optimizers.Adam(rate)) for rate in (0.1, 0.2))
    assert len({key(model, rows) for model in rates}) == 1


def twice_the_same():
    layer = layers.Dense(D, "relu")
    return mlp(layer, layer)


def test_different_keys(rows):
    def in_mixed_policy():
        return mlp(layers.Dense(8, "relu", dtype="mixed_bfloat16"))

    def in_other_order():
        return mlp(layers.Dense(8, "relu"), layers.Dropout(0.5), layers.BatchNormalization())

    def used_twice(of_first):
        x = layers.Input((D,))
        first, second = layers.Dense(D, "relu"), layers.Dense(D, "relu")
        model = keras.Model(x, layers.Dense(1)(second(first(first(x))) if of_first else second(second(first(x)))))
        model.compile("sgd", "mse")
        return model

    models = [
        *(build() for build in SHARED.values()),
        wired(crossed=True),
        mlp(layers.Dense(8, "tanh")),
        mlp(layers.Dense(9, "relu")),
        mlp(layers.Dense(8, "relu", use_bias=False)),
        mlp(layers.Dense(8, "relu"), layers.Dropout(0.4)),
        mlp(layers.Dense(8, "relu"), layers.Dropout(0.5)),
        mlp(layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.1))),
        mlp(layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.2))),
        mlp(layers.Dense(8, "relu", kernel_constraint="max_norm")),
        mlp(layers.Dense(8, "relu", activity_regularizer="l1")),
        mlp(layers.Dense(D, "relu"), layers.Dense(D, "relu")),
        twice_the_same(),
        used_twice(True),
        used_twice(False),
        mlp(layers.Dense(8), layers.BatchNormalization(momentum=0.9)),
        mlp(layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dropout(0.5)),
        in_other_order(),
        in_mixed_policy(),
        mlp(optimizer=keras.optimizers.Adam(beta_1=0.8)),
        mlp(optimizer=keras.optimizers.Adam(clipnorm=1.0)),
        mlp(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.6))),
        mlp(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5))),
        mlp(optimizer=keras.optimizers.SGD()),
        mlp(loss="mse"),
        mlp(ending=None),
        mlp(ending=None, loss=keras.losses.BinaryCrossentropy(from_logits=True)),
        mlp(loss=keras.losses.Huber(0.5)),
        mlp(loss=keras.losses.Huber(0.1)),
        mlp(loss=keras.losses.Huber(0.1, dtype="float64")),
        mlp(loss=keras.losses.CosineSimilarity(axis=0)),
        mlp(loss=keras.losses.CosineSimilarity(axis=-1)),
        mlp(loss_weights=[3.0]),
        mlp(metrics=[keras.metrics.CosineSimilarity(axis=0)]),
        mlp(metrics=[keras.metrics.CosineSimilarity(axis=-1)]),
        mlp(metrics=["accuracy", "auc"]),
        mlp(metrics=[keras.metrics.BinaryAccuracy(threshold=0.3, name="accuracy")]),
        mlp(metrics=[], weighted_metrics=["accuracy"]),
    ]
    keys = [key(model, rows) for model in models]
    assert None not in keys
    assert [(i, j) for j, b in enumerate(keys) for i, a in enumerate(keys[:j]) if a == b] == []
    assert key(mlp(), rows, "test_step") not in keys


class OwnDense(layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


class OwnSGD(keras.optimizers.SGD):
    def __init__(self, factor=2.0):
        super().__init__(0.01)
        self.factor = factor


class OwnModel(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def relu(x):
    return keras.ops.relu(x) + 1


def binary_crossentropy(y, p):
    return keras.ops.mean((y - p) ** 2, axis=-1)


def penalty(w):
    return keras.ops.sum(w)


def patched():
    model = mlp()
    layer = model.layers[0]
    object.__setattr__(layer, "call", lambda inputs, training=None: keras.layers.Dense.call(layer, inputs) + 1)
    return model


def own_model():
    model = OwnModel([layers.Input((D,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def undecayed():
    model = mlp(optimizer=keras.optimizers.AdamW(0.01))
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    return model


def adapted():
    normalise = layers.Normalization()
    normalise.adapt(np.ones((5, D)))
    return mlp(normalise)


OWN = {
    "layer": lambda: mlp(OwnDense(8)),
    "lambda": lambda: mlp(layers.Lambda(lambda x: 2 * x)),
    "constants that are no variables": adapted,
    "activation": lambda: mlp(layers.Dense(8, relu)),
    "regularizer": lambda: mlp(layers.Dense(8, "relu", kernel_regularizer=penalty)),
    "loss": lambda: mlp(loss=binary_crossentropy),
    "metric": lambda: mlp(metrics=[binary_crossentropy]),
    "optimizer": lambda: mlp(optimizer=OwnSGD(3.0)),
    "learning rate": lambda: mlp(optimizer=keras.optimizers.SGD(lambda: 0.1)),
    "weight decay": undecayed,
    "loss scale": lambda: mlp(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())),
    "model": own_model,
    "patched layer": patched,
    "nested model": lambda: mlp(keras.Sequential([layers.Dense(4)])),
    "large": lambda: mlp(layers.Dense(MOST_NUMBERS // 15, "relu")),
}


@pytest.mark.parametrize("name", OWN)
def test_what_is_not_keras_own_is_not_shared(rows, name):
    model = OWN[name]()
    assert key(model, rows) is None


def test_what_the_optimizer_was_built_for_is_part_of_the_key(rows):
    keys = []
    for first in (0, 1):
        model = mlp(*(layers.Dense(D, "relu") for _ in range(3)), optimizer=keras.optimizers.SGD(0.1, momentum=0.5))
        for k, layer in enumerate(model.layers):
            layer.trainable = k in (first, first + 1)
        _make_variables(model, rows)
        for k, layer in enumerate(model.layers):
            layer.trainable = k == 1
        keys.append(key(model, rows))
    assert None not in keys
    assert keys[0] != keys[1]


def test_a_method_that_was_replaced_is_part_of_the_key(rows, monkeypatch):
    model, call = mlp(), layers.Dense.call
    one = key(model, rows)
    monkeypatch.setattr(layers.Dense, "call", lambda self, inputs, training=None: -call(self, inputs))
    assert key(model, rows) != one


def test_settings_are_part_of_the_key(rows):
    model, epsilon = mlp(), keras.config.epsilon()
    one = key(model, rows)
    try:
        keras.config.set_epsilon(1e-3)
        assert key(model, rows) != one
    finally:
        keras.config.set_epsilon(epsilon)


def test_what_is_read_besides_variables_is_not_shared(rows, monkeypatch):
    """A layer that keeps numbers elsewhere, were it taken for one of those that do not."""
    from skexplain.keras import _making

    class Shifted(layers.Layer):
        def build(self, input_shape):
            self.shift = keras.ops.convert_to_tensor(np.arange(200.0, dtype="float32"))

        def call(self, inputs):
            return inputs + keras.ops.sum(self.shift)

    Shifted.__module__ = "keras.tests"
    monkeypatch.setattr(_making, "LAYERS", {*_making.LAYERS, Shifted})
    model = mlp(Shifted())
    train(model, rows, None, Schedule(1, 16, 1), [])
    assert not _epochs._KEPT


def test_estimators_share_no_state(rows):
    def build(meta):
        return mlp(layers.Dense(6, "relu"), layers.Dropout(0.2))

    X, y = rows.X, rows.y.ravel()
    one = KerasClassifier(build, epochs=3, random_state=0).fit(X, y)
    before = one.predict_proba(X)
    state_before = values(one.model_)
    two = KerasClassifier(build, epochs=5, batch_size=7, random_state=1, callbacks=None).fit(X, y)
    assert len(_epochs._KEPT) == 1
    assert not {id(v) for v in state(one.model_)} & {id(v) for v in state(two.model_)}
    for a, b in zip(values(one.model_), state_before, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.predict_proba(X), before)
    again = KerasClassifier(build, epochs=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), before)
    assert again.history_ == one.history_


def test_a_kept_graph_keeps_no_model(rows):
    model = mlp()
    train(model, rows, None, Schedule(1, 16, 1), [])
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert len(_epochs._KEPT) == 1
    assert gone() is None


def test_few_graphs_are_kept(rows, monkeypatch):
    monkeypatch.setattr(_epochs, "MOST", 2)
    kept = []
    for width in (2, 3, 2, 4):
        train(mlp(layers.Dense(width), optimizer="sgd"), rows, None, Schedule(1, 16, 1), [])
        kept.append(list(_epochs._KEPT.values()))
    a, b = kept[1]
    assert kept[2] == [b, a]  # the one used last stays longest
    assert kept[3][0] is a


def test_threads(rows):
    def fitted(seed):
        model = mlp(layers.Dense(6, "relu"), layers.Dropout(0.3, seed=seed))
        rng = np.random.default_rng(seed)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        train(model, rows, None, Schedule(5, 16, 1, seed=seed), [])
        return model.get_weights()

    alone = [fitted(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for a, b in zip(alone, pool.map(fitted, range(4)), strict=True):
            for v, w in zip(a, b, strict=True):
                np.testing.assert_array_equal(v, w)
