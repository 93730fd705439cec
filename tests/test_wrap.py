"""Models of other libraries behind one boundary."""

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skexplain
from skexplain._wrap import EstimatorNetwork, as_network

torch.set_num_threads(1)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mlp_of_scikit_learn(blobs, line, activation):
    X, y = blobs
    clf = MLPClassifier((8,), activation=activation, max_iter=50, random_state=0).fit(X, y)
    net = as_network(clf, X)
    np.testing.assert_allclose(np.exp(net.head.log_probabilities(net.predict(X))), clf.predict_proba(X), rtol=1e-4)
    binary = MLPClassifier((8,), activation=activation, max_iter=50, random_state=0).fit(X, y > 0)
    net = as_network(binary, X)
    np.testing.assert_allclose(np.exp(net.head.log_probabilities(net.predict(X))), binary.predict_proba(X), rtol=1e-4)
    reg = MLPRegressor(hidden_layer_sizes=(8,), activation=activation, max_iter=50, random_state=0).fit(*line)
    np.testing.assert_allclose(
        as_network(reg, line[0]).predict(line[0])[:, 0], reg.predict(line[0]), rtol=1e-4, atol=1e-5
    )


class Softmaxed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(dim=1))


def test_skorch(blobs):
    X, y = blobs
    net = skorch.NeuralNetClassifier(Softmaxed, max_epochs=2, lr=0.1, verbose=0).fit(X, y.astype(np.int64))
    network = as_network(net, X)
    np.testing.assert_allclose(
        np.exp(network.head.log_probabilities(network.predict(X))), net.predict_proba(X), rtol=1e-4
    )
    est = skexplain.from_fitted(net, X, y, random_state=0)
    np.testing.assert_array_equal(est.predict(X), net.predict(X))
    with pytest.raises(NotFittedError):
        skexplain.explain(skorch.NeuralNetClassifier(Softmaxed), X)


def test_skorch_regressor(line):
    X, y = line
    module = nn.Sequential(nn.Linear(3, 1))
    reg = skorch.NeuralNetRegressor(module, max_epochs=2, verbose=0).fit(X, y.reshape(-1, 1))
    est = skexplain.from_fitted(reg, X, y)
    np.testing.assert_allclose(est.predict(X), reg.predict(X)[:, 0], rtol=1e-4, atol=1e-5)


def test_not_a_network(blobs):
    X, y = blobs
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    with pytest.raises(skexplain.UnsupportedModelError, match="A RandomForestClassifier is not a network"):
        skexplain.explain(forest, X)
    assert skexplain.importances(forest, X, y, attribution="permutation", random_state=0).ranking[0] == 0


@pytest.mark.parametrize("model", [RandomForestClassifier(5, random_state=0), RidgeClassifier(), LogisticRegression()])
def test_estimators_from_the_outside(blobs, model):
    X, y = blobs
    for labels in (y, y > 0):
        fitted = model.fit(X, labels)
        net = EstimatorNetwork(fitted, X)
        np.testing.assert_array_equal(net.classes[net.predict(X).argmax(axis=1)], fitted.predict(X))


def test_frames_keep_their_types(blobs):
    X, _ = blobs
    frame = pd.DataFrame(
        {"a": X[:, 0], "b": np.round(X[:, 1]).astype("int8"), "c": pd.Categorical(np.where(X[:, 2] > 0, "u", "v"))}
    )
    seen = []

    class Spy(RandomForestRegressor):
        def predict(self, X):
            seen.append(X.dtypes.tolist())
            return super().predict(X.assign(c=X["c"].cat.codes))

    model = Spy(5, random_state=0).fit(frame.assign(c=frame["c"].cat.codes), X[:, 0])
    skexplain.importances(model, frame, X[:, 0], attribution="permutation")
    assert all(dtypes == frame.dtypes.tolist() for dtypes in seen)


def test_pipelines(blobs):
    X, y = blobs
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipe = make_pipeline(
        StandardScaler(), MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0)
    ).fit(frame, y)
    exp = skexplain.explain(pipe, frame, random_state=0)
    inner = skexplain.explain(pipe[-1], pipe[:-1].transform(frame), random_state=0)
    np.testing.assert_allclose(exp.values, inner.values, rtol=1e-4, atol=1e-6)
    assert exp.names == tuple("abcd")
    est = skexplain.from_fitted(pipe, frame, y, random_state=0)
    np.testing.assert_array_equal(est.predict(frame), pipe.predict(frame))
    np.testing.assert_allclose(est.predict_proba(frame), pipe.predict_proba(frame), rtol=1e-5)
    assert est.feature_names_in_.tolist() == list("abcd")
    assert set(np.argsort(est.feature_importances_)[-2:]) == {0, 1}
    measured = skexplain.from_fitted(pipe, frame, y, attribution="permutation", random_state=0)
    assert set(np.argsort(measured.feature_importances_)[-2:]) == {0, 1}
