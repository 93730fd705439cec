"""Models of other libraries behind one boundary."""

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
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


@pytest.fixture(scope="module")
def mixed_pipeline(blobs):
    X, y = blobs
    frame = pd.DataFrame({"sex": np.where(X[:, 0] > 0, "m", "f"), "x": X[:, 1], "z": X[:, 2]})
    pre = ColumnTransformer([("hot", OneHotEncoder(), ["sex"])], remainder=StandardScaler())
    net = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0)
    return make_pipeline(pre, net).fit(frame, y), frame, y


def test_pipeline_of_few_rows(mixed_pipeline):
    """Rows that are alike in a column differ from the background in it."""
    pipe, frame, _ = mixed_pipeline
    few = frame[frame["sex"] == "m"].iloc[:5]
    strategy = skexplain.attributions.IntegratedGradients()
    exp = skexplain.explain(pipe, few, attribution=strategy, background=frame)
    whole = skexplain.explain(pipe, frame, attribution=strategy, background=frame)
    rows = np.flatnonzero(frame["sex"] == "m")[:5]
    np.testing.assert_allclose(exp.values, whole.values[rows], rtol=1e-3, atol=1e-4)
    gap = exp.base_values + exp.values.sum(axis=1) - exp.predictions
    assert np.abs(gap).max() < 1e-2 * whole.predictions.std()
    assert np.abs(exp.values[:, 0]).min() > 0.1
    with pytest.raises(ValueError, match="Pass `background=`"):
        skexplain.explain(pipe, frame.iloc[:1], attribution=strategy)


def test_fitted_pipeline_knows_other_rows(mixed_pipeline):
    pipe, frame, y = mixed_pipeline
    est = skexplain.from_fitted(pipe, frame, y, random_state=0)
    exp = est.explain(frame.iloc[:1])
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), exp.predictions)
    assert np.abs(exp.values).max() > 0.1


def test_row_without_background_is_not_compared_with_itself(blobs):
    X, y = blobs
    net = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="would be compared with itself"):
        skexplain.explain(net, X[:1])
    assert skexplain.explain(net, X[:1], background=X).values.any()


def test_scorers_ask_the_model_itself(blobs):
    """A threshold of the user's is not in the probabilities."""
    X, y = blobs
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.95).fit(X, y > 0)
    strategy = skexplain.attributions.Permutation(scoring="accuracy", n_repeats=30)
    got = skexplain.importances(model, X, y > 0, attribution=strategy, random_state=0)
    theirs = permutation_importance(model, X, y > 0, scoring="accuracy", n_repeats=30, random_state=0)
    np.testing.assert_allclose(got.signed, theirs.importances_mean, atol=0.02)
    assert got.signed[0] > 0.1


def test_search_is_explained_by_its_best(blobs):
    X, y = blobs
    search = GridSearchCV(
        MLPClassifier((8,), solver="lbfgs", max_iter=2000, random_state=0), {"alpha": [1.0, 2.0]}, cv=2
    ).fit(X, y)
    np.testing.assert_array_equal(
        skexplain.explain(search, X, random_state=0).values,
        skexplain.explain(search.best_estimator_, X, random_state=0).values,
    )


def test_poisson_regressor(line):
    X, y = line
    counts = np.exp(y / 5)
    reg = MLPRegressor(
        loss="poisson", hidden_layer_sizes=(8,), solver="lbfgs", alpha=0.1, max_iter=3000, random_state=0
    ).fit(X, counts)
    np.testing.assert_allclose(as_network(reg, X).predict(X)[:, 0], reg.predict(X), rtol=1e-4)
    exp = skexplain.explain(reg, X, attribution="integrated_gradients")
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), exp.predictions, atol=2e-3 * counts.std())
