"""Each caution where it is due, and none where it is not."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier

from skexplain import Importances
from skexplain._report._cautions import cautions
from skexplain._report._data import Data
from skexplain._report._model import Chapter
from skexplain.attributions import ExpectedGradients


def data(n=200, d=3, classification=True):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    y = X[:, 0] > 0 if classification else X[:, 0]
    return Data(X, y, [f"x{j}" for j in range(d)], classification)


def chapter(d, values=(3.0, 2.0, 1.0), error=0.01, model=None, background=100):
    values = np.array(values)
    imp = Importances(
        tuple(d.names), values, values, np.full(len(values), error), ExpectedGradients(), "margin", "predicted", 9, 0
    )
    if model is None:
        kind = LogisticRegression(C=0.1) if d.classification else LinearRegression()
        model = kind.fit(d.X, d.y)
    return Chapter("net", model, imp, d.X[:background])


def found(d, c=None, trained=None, held_out=True, better=True, compared=None):
    c = chapter(d) if c is None else c
    return cautions({"net": c}, d, {"net": trained}, held_out, {"net": better}, compared)


@pytest.mark.parametrize("classification", [True, False])
def test_none_where_nothing_is_wrong(classification):
    assert found(data(classification=classification)) == []


def only(sentences, words):
    assert len(sentences) == 1
    assert words in sentences[0]


def test_rows():
    only(found(data(40)), "40 rows only")
    d = data()
    d.y = np.arange(200) < 3
    only(found(d), "Class True has 3 of 200 rows")


def test_training_rows():
    only(found(data(), held_out=None), "Nothing is known of the training rows of net")
    only(found(data(), held_out=None, trained=0.4), "Training rows of net are among these rows")
    only(found(data(), held_out=False), "are measured on training rows")
    assert found(data(), held_out=None, trained=0.0) == []


def test_no_better_than_a_guess():
    only(found(data(), better=False), "no better than a guess")


def test_correlated_columns():
    d = data()
    d.X[:, 2] = -d.X[:, 1] + 0.1 * d.X[:, 2]
    only(found(d), "“x1” with “x2” (-1.00)")


def test_saturated_outputs():
    d = data()
    only(found(d, chapter(d, model=LogisticRegression(C=1e9, max_iter=1000).fit(d.X, d.y))), "outputs are saturated")


def test_small_background():
    d = data()
    net = MLPClassifier((2,), solver="lbfgs", max_iter=9, tol=10, alpha=10, random_state=0).fit(d.X, d.y)
    only(found(d, chapter(d, model=net, background=10)), "10 background rows only")


def test_importances():
    d = data()
    only(found(d, chapter(d, values=(3.0, 2.99, 1.0))), "intervals of neighbours in the ranking of net overlap")
    only(found(d, chapter(d, values=(0.0, 0.0, 0.0))), "depends on no column")


def test_strategies_that_disagree():
    d = data()
    c = chapter(d)
    c.methods = SimpleNamespace(cautions=("a and b disagree.", "c and d disagree.", "e and f disagree."))
    first, _, third = found(d, c)
    assert first == "Strategies disagree on net. a and b disagree."
    assert third.startswith("There are 1 more")


def test_many_values_in_a_forest():
    d = data()
    d.X[:, 1] = d.X[:, 1] > 0
    own = np.array([[0.6, 0.2, 0.2]])
    compared = SimpleNamespace(models=("random forest",), names=tuple(d.names), mean=lambda kind: own, correlations=())
    only(found(d, compared=compared), "favour columns with many different values, such as “x0”, “x2”")
    d.X[:, 1] = np.arange(200)
    assert found(d, compared=compared) == []


def test_models_that_disagree():
    one = SimpleNamespace(
        kind="permutation", first="net", second="random forest", spearman=0.1, spearman_interval=(-0.2, 0.4)
    )
    compared = SimpleNamespace(models=(), names=(), mean=lambda kind: np.zeros((0, 3)), correlations=(one,))
    only(found(data(), compared=compared), "net and random forest rank the columns differently")
