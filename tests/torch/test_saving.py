"""Files without code, of torch nets."""

import json
import re
import sys
import zipfile

import numpy as np
import pytest
import skorch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import skexplain
from skexplain.attributions import IntegratedGradients
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor

HERE = __name__


class Net(nn.Module):
    """Tied weights, a lazy layer, a buffer, and a class as a parameter."""

    slope = 1.0

    def __init__(self, n_features, width=4, act=nn.ReLU):
        super().__init__()
        self.first, self.act = nn.LazyLinear(width), act()
        self.tied = nn.Linear(width, width)
        self.again = self.tied
        self.norm = nn.BatchNorm1d(width)
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        h = self.norm(self.act(self.first(x)))
        return self.slope * self.out(self.again(self.act(self.tied(h))))


def build(n_features, n_outputs):
    return nn.Sequential(nn.Linear(n_features, 4), nn.Tanh(), nn.Linear(4, n_outputs))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.skx"


@pytest.fixture(scope="module")
def own(blobs):
    params = {"module__width": 5, "module__act": nn.Tanh, "optimizer": torch.optim.Adam, "max_epochs": 3}
    return NeuralNetClassifier(Net, **params, batch_size=50, train_split=None, random_state=0).fit(*blobs)


@pytest.mark.parametrize(
    "given",
    [
        {"custom_objects": {"Net": Net}},
        {"custom_objects": {f"{HERE}.Net": Net}},
        {"trusted": [f"{HERE}.Net"]},
        {"trusted": [f"{HERE}:Net"]},
    ],
)
def test_own_module(own, blobs, path, given):
    X, _ = blobs
    skexplain.save(own, path)
    state = torch.random.get_rng_state()
    back = skexplain.load(path, **given)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert back.module is Net
    assert back.module_.again is back.module_.tied
    np.testing.assert_array_equal(back.predict_proba(X), own.predict_proba(X))
    np.testing.assert_array_equal(back.feature_importances_, own.feature_importances_)
    assert back.history_ == own.history_
    states = (net.optimizer_.state_dict()["state"].values() for net in (own, back))
    for a, b in zip(*states, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_names_are_not_imported(own, path):
    skexplain.save(own, path)
    with pytest.raises(ValueError, match=rf"needs {HERE}\.Net, and nothing is imported because a file says so.*'Net'"):
        skexplain.load(path)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("skexplain.json").decode()
    rename(path, content.replace(f"{HERE}:Net", "nowhere_at_all:Net"))
    with pytest.raises(ValueError, match=r"nowhere_at_all\.Net is trusted, but cannot be imported"):
        skexplain.load(path, trusted=["nowhere_at_all.Net"])
    rename(path, content.replace(f"{HERE}:Net", f"{HERE}:Gone"))
    with pytest.raises(ValueError, match="Gone is trusted, but its module does not have it"):
        skexplain.load(path, trusted=[f"{HERE}.Gone"])
    rename(path, re.sub(r'"names": \[.*?\]', '"names": []', content))  # the list is for the message only
    with pytest.raises(ValueError, match="is neither in custom_objects nor in trusted"):
        skexplain.load(path)


def rename(path, content):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["skexplain.json"] = content.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_class_that_has_changed(own, path, monkeypatch):
    skexplain.save(own, path)
    monkeypatch.setattr(Net, "slope", 1.1)
    with pytest.raises(ValueError, match="does not answer as it did when it was saved: its class has changed"):
        skexplain.load(path, custom_objects={"Net": Net})


class Outside(Net):
    """Keeps a number where no state_dict looks."""

    def forward(self, x):
        if self.training:
            self.slope = 2.0
        return super().forward(x)


def test_state_outside_the_weights(blobs, path):
    clf = NeuralNetClassifier(Outside, max_epochs=1, random_state=0).fit(*blobs)
    with pytest.raises(ValueError, match=r"cannot be saved safely: The network made from the file does not answer"):
        skexplain.save(clf, path)
    assert list(path.parent.iterdir()) == []


def test_builders_and_parameters_after_fit(blobs, path):
    X, y = blobs
    clf = NeuralNetClassifier(build, max_epochs=1, random_state=0).fit(X, y)
    default = NeuralNetClassifier(module__hidden=(3,), max_epochs=1, random_state=0).fit(X, y)
    default.set_params(module__hidden=(5,), attribution=IntegratedGradients(n_steps=9))
    for net in (clf, default):
        skexplain.save(net, path)
        back = skexplain.load(path, custom_objects={"build": build})
        np.testing.assert_array_equal(back.predict_proba(X), net.predict_proba(X))
    assert back.module__hidden == (5,)
    assert back.attribution.n_steps == 9


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"module": lambda n_features, n_outputs: build(n_features, n_outputs)}, "module=<function.*Define it with"),
        ({"module": nn.Linear(4, 3)}, r"module=Linear\(.*instance of Linear may hold any code"),
        ({"callbacks": [skorch.callbacks.EpochTimer()]}, r"callbacks\[0\]=<skorch.*instance of EpochTimer"),
        ({"criterion": nn.CrossEntropyLoss()}, r"criterion=CrossEntropyLoss\(\) cannot be saved safely"),
        ({"train_split": skorch.dataset.ValidSplit(2)}, "train_split=.*instance of ValidSplit"),
    ],
)
def test_code_is_refused_by_name(blobs, path, params, match):
    clf = NeuralNetClassifier(**{"module": build, "max_epochs": 1, "random_state": 0} | params).fit(*blobs)
    with pytest.raises(TypeError, match=match):
        skexplain.save(clf, path)
    assert list(path.parent.iterdir()) == []


def test_tensors_and_double_precision(blobs, path):
    X, y = blobs
    weight = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    clf = NeuralNetClassifier(criterion__weight=weight, criterion=nn.CrossEntropyLoss, dtype="float64", max_epochs=2)
    clf.set_params(random_state=0, optimizer=torch.optim.SGD, optimizer__momentum=0.9).fit(X, y)
    skexplain.save(clf, path)
    back = skexplain.load(path)
    assert torch.equal(back.criterion_.weight, weight)
    for net in (clf, back):
        net.partial_fit(X, y)
    np.testing.assert_array_equal(back.predict_proba(X), clf.predict_proba(X))


def test_without_safetensors(blobs, path, monkeypatch):
    clf = NeuralNetClassifier(max_epochs=1).fit(*blobs)
    skexplain.save(clf, path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for call in (lambda: skexplain.save(clf, path), lambda: skexplain.load(path)):
        with pytest.raises(ImportError, match=r"pip install 'skexplain\[torch\]'"):
            call()


def test_net_that_was_on_a_gpu(blobs, path):
    clf = NeuralNetClassifier(max_epochs=1, random_state=0).fit(*blobs)
    skexplain.save(clf, path)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("skexplain.json").decode()
    rename(path, content.replace('"device": "cpu"', '"device": "cuda"'))
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.warns(skorch.exceptions.DeviceWarning, match="loaded to the CPU"):
        back = skexplain.load(path)
    np.testing.assert_array_equal(back.predict_proba(blobs[0]), clf.predict_proba(blobs[0]))


def test_sizes_that_the_file_does_not_have(blobs, path):
    """A terabyte of weights is neither made nor waited for."""
    clf = NeuralNetClassifier(module__hidden=(3,), max_epochs=1, random_state=0).fit(*blobs)
    skexplain.save(clf, path)
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("skexplain.json"))
    arguments = content["content"]["network"]["made_by"]["tuple"][1]["map"]
    arguments["hidden"] = {"tuple": [10**6, 10**6]}
    rename(path, json.dumps(content))
    with pytest.raises(ValueError, match=r"is damaged.*loading state_dict"):
        skexplain.load(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, line):
    path = tmp_path_factory.mktemp("whole") / "reg.skx"
    reg = NeuralNetRegressor(module__hidden=(2,), max_epochs=1, random_state=0, importance_rows=3).fit(*line)
    skexplain.save(reg, path)
    return path.read_bytes(), reg.predict(line[0])


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans())
def test_changed_bytes(tmp_path, whole, line, where, byte, cut):
    data, expected = whole
    at = int(where * len(data))
    path = tmp_path / "f.skx"
    path.write_bytes(data[:at] if cut else data[:at] + bytes([byte]) + data[at + 1 :])
    try:
        back = skexplain.load(path)
    except ValueError as exc:
        assert str(path) in str(exc)  # noqa: PT017
        assert "\n" not in str(exc)  # noqa: PT017
    else:
        np.testing.assert_array_equal(back.predict(line[0]), expected)


@few
@given(st.data())
def test_changed_content(tmp_path, whole, data):
    """Anything at any place of the JSON: an error in a sentence, or an estimator; nothing is imported."""
    path = tmp_path / "f.skx"
    path.write_bytes(whole[0])
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("skexplain.json"))
    at = content["content"]
    while True:
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 4)) == 0:
            break
        at = inner
    odd = [None, -1, 7, "x", {"name": "antigravity:geohash"}, {"name": "torch.nn:Linear"}, {"array": 0}, {"tuple": []}]
    at[key] = data.draw(st.sampled_from(odd))
    rename(path, json.dumps(content))
    try:
        skexplain.load(path)
    except ValueError as exc:
        assert str(path) in str(exc) or "custom_objects" in str(exc)  # noqa: PT017
        assert "\n" not in str(exc)  # noqa: PT017
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("part", "change", "match"),
    [
        ("parameters", {"fit": 1}, "sets 'fit', which is no parameter"),
        ("parameters", {"_training": 1}, "sets '_training', which is no parameter"),
        ("fitted", {"predict": 1}, "sets 'predict', which is no parameter"),
        (None, {"estimator": "os.system"}, r"holds a 'os\.system', which this version does not know"),
    ],
)
def test_attributes_are_not_replaced(whole, tmp_path, part, change, match):
    path = tmp_path / "f.skx"
    path.write_bytes(whole[0])
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("skexplain.json"))
    at = content["content"] if part is None else content["content"][part]
    at.update(change)
    rename(path, json.dumps(content))
    with pytest.raises(ValueError, match=match):
        skexplain.load(path)
