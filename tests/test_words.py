"""Explanations in plain words: what is said of the prediction, and of which columns."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

import skexplain
from skexplain import Explanation
from skexplain._words import probability_text, value_of
from skexplain.attributions import ExactShapley, Saliency

DATA = pd.DataFrame({"age": [41.0, 20], "town": ["Ulm", "a town with a very, very long name"], "bmi": [1e-5, 0.5]})


def explanation(values=((1.234, -0.5, 0.0), (0.0, 0.0, 0.0)), **parts):
    n = len(values)
    given = {
        "values": np.array(values),
        "base_values": np.full(n, 0.25),
        "predictions": np.full(n, 0.984),
        "data": DATA,
        "names": tuple(DATA),
        "strategy": ExactShapley(),
        "output": "margin",
        "random_state": 0,
        "target": np.array(["sick", "well"][:n]),
        "outputs": np.array(["sick", "well"]),
        "probabilities": np.array([0.934, 0.5][:n]),
    }
    return Explanation(**(given | parts))


def test_for_and_against():
    first, second = explanation().to_text().splitlines()
    assert first == (
        "0.93 sick: age = 41 (+1.23); against it town = Ulm (-0.5). These 2 of 3 columns make up 100 % of all "
        "contributions, by size. All together take the margin from 0.25, the reference's, to 0.984."
    )
    assert second == "0.50 well: no column moves it."


def test_some_of_the_columns_lead_nowhere():
    text = explanation()[0, ["age", "bmi"]].to_text()
    assert text == "0.93 sick: age = 41 (+1.23). This 1 of 2 columns makes up 100 % of all contributions, by size."


def test_most_is_what_is_listed():
    text = explanation()[0].to_text(most=1)
    assert text.startswith("0.93 sick: age = 41 (+1.23). This 1 of 3 columns makes up 71 % of all contributions")
    with pytest.raises(ValueError, match="most"):
        explanation().to_text(most=0)


def test_only_against_it_and_every_column():
    text = explanation([[-1.0, -2, -3]], data=DATA[:1], predictions=np.array([-5.75])).to_text()
    assert text.startswith(
        "0.93 sick: nothing for it; against it bmi = 1e-05 (-3), town = Ulm (-2), age = 41 (-1). All"
    )


def test_a_regressor():
    number = {"target": np.zeros(2, int), "outputs": None, "probabilities": None}
    text = explanation(**number)[0].to_text()
    assert text.startswith("0.984: raised by age = 41 (+1.23); lowered by town = Ulm (-0.5). ")
    assert "take the prediction from 0.25" in text


def test_classes_that_are_numbers_and_no_probabilities():
    numbered = {"target": np.array([1, 0]), "outputs": np.array([0, 1])}
    assert explanation(**numbered)[0].to_text().startswith("0.93 class 1: ")
    assert explanation(**numbered, probabilities=None)[0].to_text().startswith("margin 0.984 of class 1: ")
    assert explanation(probabilities=None)[0].to_text().startswith("margin 0.984 of sick: ")


def test_sizes_without_sign():
    text = explanation(np.abs(explanation().values), strategy=Saliency(), base_values=np.full(2, np.nan))[0].to_text()
    assert text.startswith("0.93 sick. What it depends on most: age = 41 (1.23), town = Ulm (0.5). These")
    assert "All together" not in text


def test_all_outputs():
    values = np.array([[[1.0, -1], [0, 0], [2, -2]]])
    parts = {"base_values": np.zeros((1, 2)), "predictions": np.array([[3.0, -3]]), "target": None, "data": DATA[:1]}
    exp = explanation(values, **parts, probabilities=np.array([[0.9, 0.1]]))
    assert exp.to_text().startswith("0.90 sick: bmi = 1e-05 (+2), age = 41 (+1).")
    assert exp.to_text(output="well").startswith("0.10 well: nothing for it; against it bmi")
    with pytest.raises(ValueError, match=r"output='ill' does not exist; outputs are \['sick', 'well'\]"):
        exp.to_text(output="ill")
    with pytest.raises(ValueError, match="explain with target='all'"):
        explanation().to_text(output="sick")


def test_probabilities_never_read_as_certain():
    assert [probability_text(p) for p in (1, 0.9951, 0.99, 0.5, 0.006, 1e-9)] == (
        "over 0.99,over 0.99,0.99,0.50,0.01,under 0.01".split(",")
    )


def test_values_of_columns():
    exp = explanation()
    assert value_of(exp, 1, 1) == "a town with a very, very long…"
    assert value_of(replace(exp, data=DATA.to_numpy()), 0, 0) == "41"
    assert value_of(replace(exp, columns=np.array([2, -1, 0])), 0, 0) == "1e-05"
    assert value_of(replace(exp, columns=np.array([2, -1, 0])), 0, 1) is None
    assert value_of(replace(exp, data=np.zeros((2, 3, 1))), 0, 0) is None
    assert value_of(replace(exp, data={"a": np.zeros((2, 3))}), 0, 0) is None


@pytest.mark.parametrize("output", ["margin", "logit", "probability"])
@pytest.mark.parametrize("two", [True, False])
def test_probabilities_are_those_of_the_model(output, two):
    X, y = load_iris(return_X_y=True)
    X, y = (X[:100], y[:100]) if two else (X, y)
    net = MLPClassifier((4,), solver="lbfgs", max_iter=3000, alpha=1, random_state=0).fit(X, y)
    exp = skexplain.explain(net, X, output=output, random_state=0)
    p = net.predict_proba(X)
    np.testing.assert_allclose(exp.probabilities, p.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(exp[7:9].probabilities, exp.probabilities[7:9])
    every = skexplain.explain(net, X, output=output, target="all", random_state=0)
    np.testing.assert_allclose(every.probabilities, p, rtol=1e-6, atol=1e-9)
    assert skexplain.explain(net, X, target=lambda o: o[:, 1] - o[:, 0]).probabilities is None


def test_only_those_who_give_probabilities_have_them():
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(X, y)
    logistic = skexplain.explain(model, X, attribution="ablation", random_state=0)
    np.testing.assert_allclose(logistic.probabilities, model.predict_proba(X).max(axis=1), rtol=1e-5)
    machine = skexplain.explain(LinearSVC().fit(X, y), X, attribution="ablation", random_state=0)
    assert machine.probabilities is None
    assert machine[0].to_text().startswith("margin ")
