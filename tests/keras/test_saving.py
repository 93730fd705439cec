"""Files without code, of Keras estimators."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import skexplain
from skexplain.keras import KerasClassifier, KerasRegressor
from skexplain.keras._saving import check_config

from .test_persistence import Gate, Halving, OwnLoss, SaidAdam, gated, gated_model, squashed

OWN = {"Gate": Gate, "squashed": squashed, "gated": gated}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.skx"


@pytest.mark.parametrize(("make", "how"), [(lambda: gated, "custom_objects"), (gated_model, "trusted")])
def test_own_layers(make, how, blobs, path):
    X, y = blobs
    clf = KerasClassifier(make(), optimizer="adam", epochs=1, random_state=0).fit(X, y)
    skexplain.save(clf, path)
    with pytest.raises(ValueError, match=r"needs .*test_persistence\.Gate.*, and nothing is imported"):
        skexplain.load(path)
    names = [f"{item.__module__}.{item.__qualname__}" for item in OWN.values()]
    back = skexplain.load(path, **{how: OWN if how == "custom_objects" else names})
    np.testing.assert_array_equal(back.predict_proba(X), clf.predict_proba(X))
    if how == "trusted":
        for a, b in zip(clf.model.get_weights(), back.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert isinstance(back.model.layers[0], Gate)
    else:
        assert back.model is gated


def test_arguments_of_what_a_model_is_compiled_with(line, path):
    X, y = line
    params = {
        "loss": OwnLoss(3),
        "metrics": [keras.metrics.CosineSimilarity(axis=0), "mae"],
        "optimizer": SaidAdam(3.0, learning_rate=Halving(0.3)),
    }
    reg = KerasRegressor(**params, epochs=2, random_state=0).fit(X, y)
    skexplain.save(reg, path)
    back = skexplain.load(path, custom_objects={"OwnLoss": OwnLoss, "SaidAdam": SaidAdam, "Halving": Halving})
    for found in (back.loss, back.model_.loss):
        assert (type(found), found.power) == (OwnLoss, 3)
    assert back.metrics[0]._fn_kwargs == {"axis": 0}
    for found in (back.optimizer, back.model_.optimizer):
        assert (found.factor, found._learning_rate.first) == (3.0, 0.3)
    assert int(back.model_.optimizer.iterations) == int(reg.model_.optimizer.iterations) > 0
    for a, b in zip(reg.model_.optimizer.variables, back.model_.optimizer.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert back.history_ == reg.history_


def of_lambda():
    return keras.Sequential([layers.Input((4,)), layers.Lambda(lambda x: 2 * x), layers.Dense(3, "softmax")])


def of_name():
    return keras.Sequential([layers.Input((4,)), layers.Lambda(squashed), layers.Dense(3, "softmax")])


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"model": lambda: gated_model()}, "model=<function.*Define it with"),
        ({"model": of_lambda}, "model_=<function of_lambda.*<lambda> cannot be imported by its name"),
        ({"model": of_name}, r"model_=<Sequential.*keras\.layers\.Lambda .* in the model is code"),
        ({"callbacks": [keras.callbacks.TerminateOnNaN()]}, r"callbacks\[0\]=<keras.*instance of TerminateOnNaN"),
    ],
)
def test_code_is_refused_by_name(blobs, path, params, match):
    clf = KerasClassifier(epochs=1, random_state=0, **params).fit(*blobs)
    with pytest.raises(TypeError, match=match):
        skexplain.save(clf, path)
    assert list(path.parent.iterdir()) == []


def repacked(path, change):
    """The file with a changed model inside."""

    def members_of(file):
        with zipfile.ZipFile(file) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def write(file, members):
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)

    outer = members_of(path)
    inner = members_of(io.BytesIO(outer["model.keras"]))
    change(inner)
    file = io.BytesIO()
    write(file, inner)
    write(path, outer | {"model.keras": file.getvalue()})


def config(change):
    def changed(members):
        found = json.loads(members["config.json"])
        change(found["config"]["layers"])
        members["config.json"] = json.dumps(found).encode()

    return changed


def system(items):
    items[1] = {"module": "os", "class_name": "system", "config": {"command": "exit"}, "registered_name": None}


def function(items):
    items[2]["config"]["activation"] = {"module": "os", "class_name": "function", "config": "system"}


def lambdas(items):
    code = {"class_name": "__lambda__", "config": {"value": ["4wAAAA=="]}}
    items[1] = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "l", "function": code}}


def download(items):
    items[2]["config"]["activation"] = {"module": "keras.utils", "class_name": "function", "config": "get_file"}


def saved_model(items):
    items[1] = {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp"}}


def bomb(members):
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.create_dataset("x", shape=(10**11,), chunks=(1000,), dtype="f4", compression="gzip")
    members["model.weights.h5"] = file.getvalue()


BAD = {
    "class": (config(system), r"os\.system .* in the model is code, reads other files, or is unknown"),
    "function": (config(function), r"os\.function \('system'\) in the model is code"),
    "lambda": (config(lambdas), r"keras\.layers\.Lambda"),
    "download": (config(download), r"keras\.utils\.function \('get_file'\)"),
    "other file": (config(saved_model), r"keras\.layers\.TFSMLayer"),
    "bomb": (bomb, "x claims 400000000000 bytes"),
    "member": (lambda m: m.update({"../evil": b""}), "the model is not what Keras writes"),
    "weights": (lambda m: m.update({"model.weights.h5": b"none"}), "is damaged"),
    "no config": (lambda m: m.pop("config.json"), "the model is not what Keras writes"),
}


@pytest.fixture(scope="module")
def default(blobs):
    return KerasClassifier(model__hidden=(3,), epochs=1, random_state=0, importance_rows=5).fit(*blobs)


def test_bad_models(default, path):
    skexplain.save(default, path)
    whole = path.read_bytes()
    for change, why in BAD.values():
        path.write_bytes(whole)
        repacked(path, change)
        with pytest.raises(ValueError, match=why) as caught:
            skexplain.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_keras_itself_writes_is_known():
    """Every layer that builds without arguments of its own, operations, and functions by name."""
    x = layers.Input((6, 4))
    h = layers.LSTM(3, return_sequences=True, kernel_regularizer="l2")(x)
    h = keras.ops.tanh(layers.LayerNormalization()(h) * 2 + 1)
    h = layers.Dense(4, keras.activations.gelu, kernel_constraint=keras.constraints.NonNeg())(layers.Flatten()(h))
    config = json.loads(keras.Model(x, layers.PReLU()(h)).to_json())
    check_config(config, ())
    del config["config"]["layers"][1]["module"]
    with pytest.raises(TypeError, match="LSTM"):
        check_config(config, ())
