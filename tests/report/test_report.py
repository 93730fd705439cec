"""The page: what is on it, that users' words are text, that it is whole or not there, and what it refuses."""

import os
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain import _files
from skexplain._report import _write
from skexplain._report._data import Data, share_trained_on, telling_rows
from skexplain._report._learning import learning

pd = pytest.importorskip("pandas")
pytest.importorskip("jinja2")

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements in order, their text, and whether each is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def text(self):
        return "\n".join(text for tag, text in self.texts if tag not in ("script", "style"))


def table(n=80, d=4):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, d)), columns=["first", EVIL, "third", "twin"][:d])
    X["twin"] = X["first"] + 0.01 * rng.normal(size=n)
    return X, np.where(X["first"] - X[EVIL] > 0, "yes & no", "<b>no</b>")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    X, y = table()
    net = MLPClassifier((6,), solver="lbfgs", max_iter=2000, alpha=1, random_state=0).fit(X, y)
    path = tmp_path_factory.mktemp("report") / "report.html"
    steps = []
    found = skexplain.report(
        {EVIL: net}, X, y, path=path, title=f"About {EVIL}", methods=["deepshap", "permutation", "gradcam"], cv=2,
        n_rows=3, progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert found == path
    assert [s[0] for s in steps] == list(range(5))
    assert {s[1] for s in steps} == {4}
    assert os.listdir(path.parent) == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_everything_is_there(page):
    text = Page(page).text
    for heading in (
        *("Read this first", "Data", "Scores", "Beside a random forest", "Importances", "Do strategies agree?"),
        *("Partial dependence", "Single predictions"),
    ):
        assert heading in text
    assert "Not shown" not in text
    assert "correlated above 0.9" in text  # the twins
    assert "held_out=True or False" in text  # nobody knows what it was trained on
    assert "gradcam" in text  # with why it refused
    assert len(page) < 5e6


def test_what_users_wrote_is_text(page):
    found = Page(page)
    assert EVIL not in page
    assert page.count("<script>") == 1
    assert "<b>" not in page
    assert f"About {EVIL}" in found.text
    assert any(EVIL in attrs["alt"] for attrs in found.all("img"))  # in the words on the pictures too
    assert any(text == "<b>no</b>" for _, text in found.texts)


def test_it_needs_nothing_else(page):
    found = Page(page)
    assert all(attrs["src"].startswith("data:image/svg+xml;base64,") for attrs in found.all("img"))
    assert all(attrs["href"].startswith(("#", "data:")) for tag in ("a", "link") for attrs in found.all(tag))
    assert not any("src" in attrs for attrs in found.all("script"))
    assert not re.search(r"https?://|@import|url\(", page)
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for attrs in found.all("a")} <= set(ids)


def test_readable_without_seeing(page):
    found = Page(page)
    assert found.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all(len(attrs["alt"]) > 20 for attrs in found.all("img"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert all(attrs.get("scope") == "col" for attrs in found.all("th"))


def test_regression_beside_a_forest_of_the_users_with_words(tmp_path):
    pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc")).assign(flag=rng.integers(2, size=60))
    y = 3 * X["a"] + X["flag"]
    models = {
        "net": MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=2000, alpha=1, random_state=0).fit(X, y),
        "trees": RandomForestRegressor(5, random_state=0).fit(X, y),
        "line": LinearRegression().fit(X, y),
    }
    path = tmp_path / "r.html"
    skexplain.report(models, X, y, path=path, training=(X[:40], y[:40]), methods=None, n_rows=2, cv=2, held_out=False)
    text = Page(path.read_text(encoding="utf-8")).text
    assert "trained anew on 2 parts of the training rows" in text
    assert "random forest," not in text  # there is one already
    assert "line: " in text  # which has no importances of its own
    assert "Own importances of trees favour columns with many different values" in text
    assert "measured on training rows" in text
    few = {"path": path, "methods": None, "n_rows": 1, "cv": None}
    first, second = (skexplain.report(models["net"], X, y, **few).read_bytes() for _ in range(2))
    assert first == second


def test_raw_torch_module_is_not_trained(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    y = rng.integers(2, size=60)
    skexplain.report(net, X, y, path=tmp_path / "r.html", methods=None, n_rows=1, cv=2)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "Sequential: trained elsewhere, so not trained anew" in text
    assert "Sequential: it is not known whether it was trained on these rows" in text


def test_training_rows_are_found_out():
    torch = pytest.importorskip("skexplain.torch")
    X, y = table()
    net = torch.NeuralNetClassifier(max_epochs=1, random_state=0).fit(X[:40], y[:40])
    assert share_trained_on(net, X[:40]) == 1
    assert share_trained_on(net, X[40:]) == 0
    assert share_trained_on(net, X[20:]) == 0.5
    assert share_trained_on(MLPClassifier(), X) is None
    search = GridSearchCV(make_pipeline(StandardScaler(), net), {}, cv=2).fit(X[:40], y[:40])
    assert share_trained_on(search, X[:40]) == 1
    assert share_trained_on(search, X[40:]) == 0


def test_neighbours_are_among_the_training_rows(tmp_path):
    X, y = table(60)
    net = make_pipeline(StandardScaler(), MLPClassifier((2,), solver="lbfgs", max_iter=2000, alpha=1, random_state=0))
    net.fit(X[:40], y[:40])
    few = {"methods": None, "cv": None, "n_rows": 1}
    for training, known in ((None, False), ((X[:40], y[:40]), True)):
        skexplain.report(net, X[40:], y[40:], path=tmp_path / "r.html", training=training, **few)
        assert ("Nearest training rows" in (tmp_path / "r.html").read_text(encoding="utf-8")) == known


def test_very_many_columns(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3000))
    y = X[:, 0]
    net = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs", max_iter=2000, tol=0.1, random_state=0).fit(X, y)
    skexplain.report(net, X, y, path=tmp_path / "r.html", attribution="saliency", n_rows=1)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.count("there are 3000 columns, and at most 500 are compared here") == 2
    assert "and 2800 more" in text
    assert len(text) < 5e6


def test_columns_of_words_and_holes():
    X = pd.DataFrame({"a": [1.0, 2, np.nan, 2], "b": ["x", None, "y", "y"], "c": [np.nan] * 4, "d": [True, False] * 2})
    data = Data(X, np.array([0, 1, 0, 1]), list("abcd"), True)
    _, table = data.part(np.arange(4)).tables
    assert [row[:4] for row in table.rows] == [
        ("a", "numbers", 1, 2),
        ("b", "words", 1, 2),
        ("c", "numbers", 4, 0),
        ("d", "numbers", 0, 2),
    ]
    assert table.rows[1][-1] == "y (2)"
    assert table.rows[0][4] == pytest.approx(5 / 3)


def test_rows_that_tell():
    class Model:
        __sklearn_tags__ = LinearRegression().__sklearn_tags__

        def predict(self, X):
            return X[:, 0]

    X = np.arange(10.0)[:, None]
    y = X[:, 0].copy()
    y[4] = 99
    rows = telling_rows(Model(), Data(X, y, ["x"], False), 3)
    assert rows == [
        (9, "among the highest predictions"),
        (0, "among the lowest predictions"),
        (4, "among the largest errors"),
    ]
    assert len(telling_rows(Model(), Data(X, y, ["x"], False), 50)) == 10


@pytest.mark.parametrize(
    ("recorded", "last"),
    [
        ({"history_": {"loss": [3.0, 2.0], "val_loss": [3.0, 1.5], "accuracy": [0, 1]}}, "val_loss ends at 1.5"),
        ({"history_": [{"train_loss": 2.0}, {"train_loss": 1.25}]}, "train_loss ends at 1.25"),
        ({"loss_curve_": [2.0, 0.5]}, "loss ends at 0.5"),
    ],
)
def test_losses_of_every_kind(recorded, last):
    model = type("Model", (), recorded)()
    (part,) = learning(model, "a")
    assert last in part.pictures[0].alt
    assert "accuracy" not in part.pictures[0].alt
    assert learning(object(), "a") == []


def fitted():
    X, y = table(20)
    return MLPClassifier((2,), solver="lbfgs", max_iter=5, tol=10, random_state=0).fit(X, y), X, y


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "."}, "path='.' is a folder; name a file in it, such as 'report.html'"),
        ({"path": "nowhere/r.html"}, "lies in a folder that does not exist"),
        ({"X": np.zeros((0, 4)), "y": []}, "X has 0 rows and 4 columns"),
        ({"X": np.zeros(4)}, "X has 1 dimension"),
        ({"y": None}, "y is None"),
        ({"y": [1, 2]}, "y has 2 values for 20 rows"),
        ({"y": [np.nan] * 20}, "y has missing values"),
        ({"training": [1, 2]}, "training must be a pair (X, y)"),
        ({"training": (np.zeros((3, 2)), [1, 2, 3])}, "training has 2 columns, X has 4"),
        ({"models": {}}, "models has 0 entries"),
        ({"models": dict.fromkeys("abcdefg")}, "models has 7 entries; pass one to 6"),
    ],
)
def test_bad_input(change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net, X, y = fitted()
    given = {"models": net, "X": X, "y": y, "path": "r.html"} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        skexplain.report(given.pop("models"), given.pop("X"), given.pop("y"), **given)
    assert not os.listdir()


def test_path_that_cannot_be_written(tmp_path, monkeypatch):
    net, X, y = fitted()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="cannot be written"):
        skexplain.report(net, X, y, path=tmp_path / "r.html")


def test_nothing_half_written(tmp_path, monkeypatch):
    (tmp_path / "r.html").write_text("before")

    def full(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(_files, "finished", full)
    with pytest.raises(OSError, match="disk"):
        _write._write("page", tmp_path / "r.html")
    assert os.listdir(tmp_path) == ["r.html"]
    assert (tmp_path / "r.html").read_text() == "before"


@pytest.mark.parametrize("hidden", ["jinja2", "matplotlib"])
def test_missing_packages_name_the_remedy(hidden, tmp_path, monkeypatch):
    net, X, y = fitted()
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ImportError, match=r"pip install 'skexplain\[report\]'"):
        skexplain.report(net, X, y, path=tmp_path / "r.html")
