"""Losses and heads: pairs that fit, pairs that are refused, weights."""

import numpy as np
import pytest
import torch
from torch import nn

from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor


def net(*last, n_out=3):
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, n_out), *last)

    return Net


QUICK = {"max_epochs": 60, "lr": 0.02, "optimizer": torch.optim.Adam, "random_state": 0}


@pytest.mark.parametrize("last", [(), (nn.Softmax(1),), (nn.LogSoftmax(1),)], ids=["logits", "softmax", "log_softmax"])
def test_every_head_learns(blobs, last):
    X, y = blobs
    clf = NeuralNetClassifier(net(*last), **QUICK).fit(X, y)
    assert clf.score(X, y) > 0.85
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("last", [(), (nn.Sigmoid(),), (nn.Flatten(0),), (nn.Sigmoid(), nn.Flatten(0))])
def test_one_unit_learns(blobs, last):
    X, y = blobs[0], (blobs[1] > 0).astype(int)
    clf = NeuralNetClassifier(net(*last, n_out=1), **QUICK).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert clf.predict_proba(X).shape == (len(X), 2)
    np.testing.assert_allclose(clf.decision_function(X) > 0, clf.predict(X) == 1)


def test_heads_predict_alike(blobs):
    X, y = blobs
    a = NeuralNetClassifier(net(), **QUICK).fit(X, y)
    b = NeuralNetClassifier(net(nn.LogSoftmax(1)), **QUICK).fit(X, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize(
    ("criterion", "last", "n_out", "message"),
    [
        (
            nn.CrossEntropyLoss,
            (nn.Softmax(1),),
            3,
            r"criterion=CrossEntropyLoss expects logits .* returns probabilities",
        ),
        (nn.NLLLoss, (), 3, r"criterion=NLLLoss expects probabilities .* returns logits"),
        (nn.BCEWithLogitsLoss, (nn.Sigmoid(),), 1, r"expects logits .* returns probabilities \(sigmoid\)"),
        (nn.BCELoss, (), 1, r"criterion=BCELoss expects probabilities"),
        (nn.CrossEntropyLoss, (), 2, "has 2 outputs, but criterion=CrossEntropyLoss with 3 classes needs 3"),
        ("auto", (), 5, "has 5 outputs"),
        ("auto", (nn.Softmax(1),), 1, "softmax over one unit is always 1"),
    ],
)
def test_wrong_pairs_are_refused(blobs, criterion, last, n_out, message):
    X, y = blobs
    y = (y > 0).astype(int) if n_out == 1 else y
    with pytest.raises(ValueError, match=message):
        NeuralNetClassifier(net(*last, n_out=n_out), criterion=criterion, random_state=0).fit(X, y)


def test_one_unit_for_three_classes_is_refused(blobs):
    with pytest.raises(ValueError, match="has 1 outputs"):
        NeuralNetClassifier(net(n_out=1), random_state=0).fit(*blobs)


def test_regressor_outputs_must_match(line):
    X, y = line
    X = np.c_[X, X[:, :1]]
    with pytest.raises(ValueError, match="returns 2 numbers a row, but y has 1"):
        NeuralNetRegressor(net(n_out=2)).fit(X, y)


def test_regressor_of_flat_output_learns(line):
    """(n,) against (n, 1) broadcasts to (n, n) in plain torch, and learns nothing."""
    X, y = line
    X = np.c_[X, X[:, :1]]
    reg = NeuralNetRegressor(net(nn.Flatten(0), n_out=1), **QUICK | {"max_epochs": 200}).fit(X, y)
    assert reg.score(X, y) > 0.99


def test_diverging_loss_is_named(line):
    X, y = line
    with pytest.raises(
        ValueError, match=r"training loss is (nan|inf) in epoch \d+.*Lower the learning rate \(it is 1000000000"
    ):
        NeuralNetRegressor(optimizer=torch.optim.SGD, lr=1e9, random_state=0).fit(X, 1e6 * y)


def test_weighted_mean_is_the_loss_of_repeated_rows(blobs):
    X, y = blobs
    weight = np.random.default_rng(0).integers(1, 4, size=len(X))
    params = {"dtype": "float64", "max_epochs": 5, "batch_size": -1, "random_state": 0, "train_split": None}
    a = NeuralNetClassifier(**params).fit(X, y, sample_weight=weight)
    b = NeuralNetClassifier(**params).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-6)


def test_criterion_keeps_its_reduction(blobs):
    clf = NeuralNetClassifier(random_state=0, max_epochs=2).fit(*blobs, sample_weight=np.arange(150) + 1.0)
    assert clf.criterion_.reduction == "mean"
    with pytest.raises(ValueError, match="need a criterion with a `reduction`"):
        NeuralNetClassifier(criterion=NoReduction, max_epochs=1).fit(*blobs, sample_weight=np.arange(150) + 1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_a_criterion_have_the_dtype(blobs, dtype):
    X, y = blobs
    weight = torch.tensor([1.0, 1.0, 30.0])
    params = {"criterion": nn.CrossEntropyLoss, "criterion__weight": weight, "dtype": dtype, "random_state": 0}
    clf = NeuralNetClassifier(max_epochs=20, **params).fit(X, y)
    assert (clf.predict(X) == 2).mean() > (y == 2).mean()


class NoReduction(nn.Module):
    def forward(self, pred, y):
        return nn.functional.cross_entropy(pred, y)
