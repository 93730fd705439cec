"""Our loop against ``Model.fit``, on the same rows in the same order."""

import keras
import numpy as np
import pytest
from keras import layers

from skexplain.keras import KerasRegressor, _training
from skexplain.keras._training import Rows, Schedule, train
from skexplain.training._input_weights import input_weights
from skexplain.training._watcher import Watcher

from .conftest import BACKEND


@pytest.fixture
def data(rng):
    X = rng.normal(size=(70, 4)).astype("float32")
    return X, (X[:, 0] > X[:, 1]).astype("float32").reshape(-1, 1)


def build(weights=None, **compiling):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(8, "relu"), layers.BatchNormalization()])
    model.add(layers.Dense(1, "sigmoid", kernel_regularizer="l2"))
    if weights is not None:
        model.set_weights(weights)
    model.compile(**{"optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["accuracy", "auc"]} | compiling)
    return model


def both(data, *, held_out=None, callbacks=list, weight=None, epochs=4, **compiling):
    """Histories and weights by ``Model.fit`` and by our loop; 70 rows in batches of 16 leave a last one of 6."""
    X, y = data
    theirs = build(**compiling)
    weights = theirs.get_weights()
    history = theirs.fit(
        X,
        y,
        sample_weight=weight,
        batch_size=16,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        validation_data=held_out,
        callbacks=callbacks(),
    ).history
    ours = build(weights, **compiling)
    watched = None if held_out is None else Rows(*held_out, None)
    schedule = Schedule(epochs=epochs, batch_size=16, validation_batch_size=16, shuffle=False)
    got = train(ours, Rows(X, y, weight), watched, schedule, callbacks())
    return (history, theirs.get_weights()), (got, ours.get_weights())


def assert_equal(theirs, ours):
    assert theirs[0].keys() == ours[0].keys()
    for name, values in theirs[0].items():
        np.testing.assert_allclose(ours[0][name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    for a, b in zip(theirs[1], ours[1], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)


def test_equals_model_fit(data):
    assert_equal(*both(data))


def test_equals_model_fit_with_validation_and_callbacks(data):
    def callbacks():
        stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=0.05, restore_best_weights=True)
        halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
        return [stop, halve]

    theirs, ours = both(data, held_out=(data[0][:20], 1 - data[1][:20]), callbacks=callbacks, epochs=30)
    assert len(theirs[0]["loss"]) < 30
    assert_equal(theirs, ours)


def test_model_checkpoint_keeps_what_it_keeps_in_model_fit(data, tmp_path):
    def callbacks():
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.weights.h5"
        return [keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True, save_weights_only=True)]

    held_out = (data[0][:20], 1 - data[1][:20])  # worse and worse, so that the best epoch is not the last
    theirs, ours = both(data, held_out=held_out, callbacks=callbacks, epochs=4)
    best = int(np.argmin(theirs[0]["val_loss"]))
    assert best < 3
    kept = []
    for path in sorted(tmp_path.iterdir()):
        model = build()
        model.optimizer.build(model.trainable_variables)
        model.load_weights(path)
        kept.append((theirs[0], model.get_weights()))
    assert len(kept) == 2
    assert_equal(*kept)
    assert any(not np.allclose(a, b) for a, b in zip(kept[1][1], ours[1], strict=True))


def test_equals_model_fit_eagerly(data):
    assert_equal(*both(data, run_eagerly=True, epochs=2))


def test_batch_callbacks_see_every_batch(data):
    seen = []

    class Watching(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, sorted(logs)))

    theirs, ours = both(data, callbacks=lambda: [Watching()], epochs=2)
    assert_equal(theirs, ours)
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
    assert [k for k, _ in seen[:5]] == [0, 1, 2, 3, 4]


def test_test_batches_are_seen(data):
    seen = []

    class Watching(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(batch)

    X, y = data
    train(build(), Rows(X, y, None), Rows(X, y, None), Schedule(1, 70, 16), [Watching()])
    assert seen == [0, 1, 2, 3, 4]


def test_a_callback_changes_the_model_when_training_begins(data):
    class Freezing(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.layers[0].trainable = False

    theirs, ours = both(data, callbacks=lambda: [Freezing()], epochs=2, optimizer="sgd")
    assert_equal(theirs, ours)
    np.testing.assert_array_equal(ours[1][1], 0)  # the frozen bias


@pytest.mark.parametrize("shuffle", [True, False])
def test_training_goes_on_from_a_backup(data, tmp_path, shuffle):
    class Interrupting(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    X, y = data
    schedule = Schedule(4, 16, 16, shuffle=shuffle)
    model = build()
    weights = model.get_weights()
    wanted = train(model, Rows(X, y, None), None, schedule, [])["loss"]
    interrupted, again = build(weights), build()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        train(interrupted, Rows(X, y, None), None, schedule, [backup, Interrupting()])
    got = train(again, Rows(X, y, None), None, schedule, [backup])["loss"]
    np.testing.assert_allclose(got, wanted[2:], rtol=1e-5)
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    # the epoch of that backup is forgotten
    assert len(train(again, Rows(X, y, None), None, Schedule(1, 16, 16), [])["loss"]) == 1


@pytest.mark.parametrize("eager", [True, False])
def test_batches_without_weight_count_nothing(data, eager):
    X, y = data
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=eager)
    before = model.get_weights()
    weight = np.where(np.arange(70) < 35, 0.0, 1.0).astype("float32")
    train(model, Rows(X[:35], y[:35], weight[:35]), None, Schedule(1, 35, 1), [])
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(train(model, Rows(X, y, weight), None, Schedule(1, 35, 1, shuffle=False), [])["loss"]).all()


def test_a_batch_is_its_weighted_mean(data):
    """Weights of one sum and of another are the same, a weight of two is a row given twice."""
    X, y = data
    w = np.where(np.arange(len(X)) < 20, 2.0, 1.0).astype("float32")
    start = build().get_weights()

    def run(X, y, w):
        model = build(start, optimizer=keras.optimizers.SGD(0.5))  # Adam's first steps hardly feel weights
        schedule = Schedule(epochs=3, batch_size=200, validation_batch_size=1, shuffle=False)
        train(model, Rows(X, y, w), None, schedule, [])
        return model.layers[0].get_weights()[0]

    twice = np.concatenate([np.arange(70), np.arange(20)])
    model_free = {"rtol": 1e-3, "atol": 1e-5}
    np.testing.assert_allclose(run(X, y, w), run(X, y, 10 * w), **model_free)
    assert np.abs(run(X, y, w) - run(X, y, None)).max() > 1e-3
    # batch normalisation sees rows and not weights, so compare without it
    dense = [start[0], start[1]]

    def plain(X, y, w):
        model = keras.Sequential([layers.Input((4,)), layers.Dense(8, "relu"), layers.Dense(1)])
        model.set_weights([*dense, start[-2], start[-1]])
        model.compile("sgd", "mse")
        train(model, Rows(X, y, w), None, Schedule(3, 200, 1, shuffle=False), [])
        return model.get_weights()[0]

    np.testing.assert_allclose(plain(X, y, w), plain(X[twice], y[twice], None), **model_free)


def test_shuffling_is_seeded(data):
    X, y = data
    start = build().get_weights()

    def run(seed):
        model = build(start)
        train(model, Rows(X, y, None), None, Schedule(2, 16, 1, seed=seed), [])
        return model.get_weights()[0]

    np.testing.assert_array_equal(run(1), run(1))
    assert np.abs(run(1) - run(2)).max() > 0


def test_a_loss_that_is_not_a_number_stops_the_fit(data):
    X, y = data
    model = build(optimizer=keras.optimizers.SGD(1e20), loss="mse")
    with pytest.raises(ValueError, match=r"training loss is .* in epoch [123]: .*learning rate \(it is 1e"):
        train(model, Rows(1e6 * X, y, None), None, Schedule(5, 16, 1), [])


def test_custom_train_step(data):
    class Doubling(keras.Model):
        def train_step(self, data):
            super().train_step(data)
            return super().train_step(data)

    X, y = data
    x = layers.Input((4,))
    model = Doubling(x, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    train(model, Rows(X, y, None), None, Schedule(2, 35, 1), [])
    assert int(model.optimizer.iterations) == 8


def test_a_model_with_its_own_fit_keeps_it(data):
    called = []

    class Own(keras.Model):
        def fit(self, *args, **kwargs):
            called.append(kwargs["epochs"])
            return super().fit(*args, **kwargs)

    X, y = data
    x = layers.Input((4,))
    model = Own(x, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    history = train(model, Rows(X, y, None), Rows(X, y, None), Schedule(2, 35, 35), [])
    assert called == [2]
    assert len(history["val_loss"]) == 2


def test_callbacks_let_go_of_the_model(data):
    X, y = data
    stop = keras.callbacks.EarlyStopping(monitor="loss")
    train(build(), Rows(X, y, None), None, Schedule(1, 16, 1), [stop])
    assert stop.model is None


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are TensorFlow's")
def test_an_epoch_is_one_graph(data, monkeypatch):
    X, y = data
    model = build()
    steps = []
    original = type(model).train_step
    monkeypatch.setattr(type(model), "train_step", lambda self, data: steps.append(1) or original(self, data))
    train(model, Rows(X, y, None), None, Schedule(5, 16, 1), [])
    assert len(steps) == 1  # traced, not called


def test_validation_frequency(data):
    X, y = data
    got = train(build(), Rows(X, y, None), Rows(X, y, None), Schedule(4, 16, 16, validation_freq=2), [])
    assert len(got["loss"]) == 4
    assert len(got["val_loss"]) == 2
    assert _training._due(2, [3])


class Seeing(Watcher):
    """Keeps the weights on the columns after each step."""

    per_step = True

    def _begin(self):
        self.weights = input_weights(self._model, self._rows)
        self.seen, self.logs, self.calls = [], [], 0

    def _step(self):
        self.calls += 1
        self.seen.append(np.empty(self.weights.size))
        self.weights.read_into(self.seen[-1])

    def _steps(self, weights):
        self.calls += 1
        assert [block.shape[1:] for block in weights] == [kernel.shape for kernel in self.weights.kernels]
        self.seen += list(np.concatenate([block.reshape(len(block), -1) for block in weights], axis=1))

    def _epoch(self, logs):
        self.logs.append(logs)

    def _end(self):
        self.final = np.empty(self.weights.size)
        self.weights.read_into(self.final)


class EveryBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


def forked(weights=None):
    """Two layers take the columns."""
    x = layers.Input((4,))
    a, b = layers.Dense(3, "tanh")(x), layers.Dense(2, "relu")(x[:, 1:])
    model = keras.Model(x, layers.Dense(1, "sigmoid")(layers.Concatenate()([a, b])))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    if weights is not None:
        model.set_weights(weights)
    return model


def trained(model, data, *callbacks):
    """70 rows in batches of 16, three epochs."""
    history = train(model, Rows(*data, None), None, Schedule(3, 16, 16, seed=5), list(callbacks))
    return history, model.get_weights()


def assert_same(one, other):
    assert one[0] == other[0]
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [build, forked])
def test_each_step_is_seen_and_nothing_changed(data, make):
    weights = make().get_weights()
    watching, by_batch = Seeing(), Seeing()
    unwatched = trained(make(weights), data)
    watched = trained(make(weights), data, watching)
    assert_same(watched, unwatched)
    assert_same(trained(make(weights), data, EveryBatch(), by_batch), unwatched)
    np.testing.assert_array_equal(watching.seen, by_batch.seen)
    assert len(watching.seen) == 15
    assert len({tuple(w) for w in watching.seen}) == 15
    np.testing.assert_array_equal(watching.seen[-1], watching.final)
    assert [logs["loss"] for logs in watching.logs] == watched[0]["loss"]
    assert watching.calls == (3 if BACKEND == "tensorflow" else 15)
    assert by_batch.calls == 15


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are TensorFlow's")
def test_steps_are_seen_a_few_at_a_time(data, monkeypatch):
    from skexplain.keras import _epochs

    weights = build().get_weights()
    at_once, by_two = Seeing(), Seeing()
    whole = trained(build(weights), data, at_once)
    monkeypatch.setattr(_epochs, "STACKED", 2 * 4 * 4 * 8 + 1)  # two kernels of 4 x 8 float32
    assert_same(trained(build(weights), data, by_two), whole)
    assert by_two.calls == 9  # five batches an epoch: two, two and one
    np.testing.assert_array_equal(by_two.seen, at_once.seen)


def test_plain_keras_takes_watchers(data):
    weights = build().get_weights()
    watching, by_keras = Seeing(), Seeing()
    schedule = Schedule(2, 16, 16, shuffle=False)
    train(build(weights), Rows(*data, None), None, schedule, [watching])
    model = build(weights)
    model.fit(*data, batch_size=16, epochs=2, shuffle=False, verbose=0, callbacks=[by_keras])
    assert by_keras.calls == 10
    assert len(by_keras.logs) == 2
    np.testing.assert_allclose(by_keras.seen, watching.seen, atol=1e-5)
    assert by_keras._model is None


def test_a_model_with_its_own_fit_is_watched(data):
    class Own(keras.Model):
        def fit(self, *args, **kwargs):
            return super().fit(*args, **kwargs)

    x = layers.Input((4,))
    model, watching = Own(x, layers.Dense(1)(x)), Seeing()
    model.compile("sgd", "mse")
    train(model, Rows(*data, None), None, Schedule(2, 35, 35), [watching])
    assert watching.calls == 4
    assert len(watching.logs) == 2


def test_what_is_watched_last_are_the_weights_that_are_kept(data):
    """Others, although they come later, have put back the best weights before."""
    watching = Seeing()
    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=1, restore_best_weights=True)
    model = build()
    trained(model, data, watching, stop)
    np.testing.assert_array_equal(watching.final, model.layers[0].get_weights()[0].ravel())
    assert np.abs(watching.final - watching.seen[-1]).max() > 0


def test_watchers_let_go_after_an_error(data):
    watching = Seeing()
    watching.look(*data)
    model = build(optimizer=keras.optimizers.SGD(1e20), loss="mse")
    with pytest.raises(ValueError, match="training loss"):
        train(model, Rows(1e6 * data[0], data[1], None), None, Schedule(5, 16, 1), [watching])
    assert watching._model is None
    assert watching._rows is None


def test_estimators_show_watchers_the_rows(data):
    class Looking(Watcher):
        def _begin(self):
            self.shown = self._rows, self._targets, self._names

    X, y = data
    pandas = pytest.importorskip("pandas")
    looking = Looking()
    KerasRegressor(epochs=1, callbacks=looking).fit(pandas.DataFrame(X, columns=list("abcd")), y.ravel())
    rows, targets, names = looking.shown
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(np.ravel(targets), y.ravel())
    assert names == tuple("abcd")
    assert looking._rows is None
    with pytest.raises(TypeError, match=r"callbacks contains 3; .*skexplain\.training"):
        KerasRegressor(callbacks=[Looking, 3]).fit(X, y.ravel())
