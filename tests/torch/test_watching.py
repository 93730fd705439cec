"""What looks on while a network trains, in torch: estimators, skorch's own nets, loops by hand."""

import numpy as np
import pytest
import skorch
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from skexplain.exceptions import UnsupportedModelError
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor
from skexplain.training import ImportanceHistory, MetricThreshold, VarianceImportanceTorch, WeightHistory
from tests.watching_contract import WatchingContract

RNG = np.random.default_rng(0)


class TestTorch(WatchingContract):
    epochs = "max_epochs"

    def classifier(self, **params):
        return NeuralNetClassifier(
            **{"module__hidden": (16,), "max_epochs": 40, "random_state": 0, "lr": 0.01} | params
        )


def by_hand(module, samples, **params):
    """Feed a sequence of weights ``(n_samples, n_columns, n_units)`` of the first layer; the scores."""
    layer = next(m for m in module.modules() if isinstance(m, nn.Linear))
    tracker = VarianceImportanceTorch(module, **params)
    for k, values in enumerate(samples):
        with torch.no_grad():
            layer.weight.copy_(torch.as_tensor(values.T))
        tracker.on_epoch_end() if k else tracker.on_train_begin()
    tracker.on_train_end()
    return tracker.var_scores


def test_weights_fed_by_hand():
    samples = RNG.normal(size=(8, 3, 5))
    expected = (samples.var(axis=0) * np.abs(samples[-1])).sum(axis=1)
    got = by_hand(nn.Sequential(nn.Dropout(0.2), nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double(), samples)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-12)


def test_one_score_an_input_column_not_a_hidden_unit():
    assert by_hand(nn.Linear(3, 5).double(), RNG.normal(size=(3, 3, 5))).shape == (3,)


def test_a_loop_by_hand():
    torch.manual_seed(0)
    X = torch.randn(300, 4)
    y = (X[:, :1] - 2 * X[:, 1:2]).sign()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trackers = [VarianceImportanceTorch(model), VarianceImportanceTorch(model, X=X.numpy(), per="step")]
    history, stop = WeightHistory(per="step"), MetricThreshold("loss", threshold=0.5, min_epochs=2)
    shares = ImportanceHistory("saliency", rows=X.numpy(), max_cost=None)
    for watcher in (*trackers, history, stop, shares):
        watcher.on_train_begin() if watcher in trackers else watcher.on_train_begin(model)
    for _ in range(50):
        for rows in torch.randperm(300).split(50):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(X[rows]), y[rows])
            loss.backward()
            optimizer.step()
            for watcher in (*trackers, history, stop, shares):
                watcher.on_batch_end()
        for watcher in (*trackers, history, stop, shares):
            watcher.on_epoch_end(logs={"loss": loss.item()})
        if stop.stop_training:
            break
    for watcher in (*trackers, history, stop, shares):
        watcher.on_train_end()
    epochs = stop.stopped_epoch
    assert epochs < 50
    assert len(history.weights) == 6 * epochs + 1
    assert shares.values.shape == (epochs + 1, 4)
    assert shares.values[-1].argmax() == 1
    assert model.training
    for tracker in trackers:
        assert tracker.var_scores.argmax() == 1
    exact = history.weights.astype(float)
    expected = (exact.var(axis=0) * np.abs(exact[-1])).sum(axis=1)
    np.testing.assert_allclose(trackers[1].var_scores, expected / expected.sum(), rtol=1e-5)


def test_skorchs_own_net():
    X, y = RNG.normal(size=(120, 3)).astype(np.float32), RNG.integers(2, size=120)
    tracker, history = VarianceImportanceTorch(per="step"), WeightHistory(per="step")
    stop = MetricThreshold(threshold=0.0, min_epochs=3)
    net = skorch.NeuralNetClassifier(
        nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2), nn.Softmax(dim=-1)),
        callbacks=[tracker, history, stop],
        batch_size=16,
        max_epochs=9,
        verbose=0,
    ).fit(X, y)
    assert len(net.history) == stop.stopped_epoch == 3
    assert len(history.weights) == 3 * 6 + 1  # 96 rows to train on; batches of validation do not count
    exact = history.weights.astype(float)
    expected = (exact.var(axis=0) * np.abs(exact[-1])).sum(axis=1)
    np.testing.assert_allclose(tracker.var_scores, expected / expected.sum(), rtol=1e-5)
    net.partial_fit(X, y)
    assert len(history.weights) == 6 * 6 + 1
    net.fit(X, y)
    assert len(history.weights) == 3 * 6 + 1


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4), nn.ReLU(), nn.LazyLinear(2)),
        nn.Sequential(nn.Dropout(0.1), nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)),
        nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)),
    ],
    ids=["batch_norm", "dropout", "convolution"],
)
def test_one_importance_a_column(module):
    X, y = RNG.normal(size=(60, 6)), RNG.integers(2, size=60)
    net = NeuralNetClassifier(module, attribution="viann", max_epochs=1, random_state=0).fit(X, y)
    assert net.feature_importances_.shape == (6,)
    assert np.isfinite(net.feature_importances_).all()


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 3), nn.Linear(3 + 2, 1)

    def forward(self, x):
        return self.out(torch.cat([self.table(x[:, 0].long()), x[:, 1:]], dim=1))


def test_an_embedding_is_one_column():
    X = np.column_stack([RNG.integers(5, size=80), RNG.normal(size=(80, 2))])
    net = NeuralNetRegressor(Embedded, attribution="viann", max_epochs=3, random_state=0).fit(X, X[:, 1])
    assert net.feature_importances_.shape == (3,)
    with pytest.raises(UnsupportedModelError, match="X="):
        VarianceImportanceTorch(Embedded()).on_train_begin()
    history = WeightHistory()
    history.on_train_begin(Embedded(), torch.as_tensor(X))
    history.on_train_end()
    assert history.weights.shape == (1, 3, 3)
    assert np.isnan(history.weights).sum() == 4  # numbers have one weight, and the code has three
    with pytest.raises(ValueError, match=r"X has the shape \(0, 3\); pass a few rows"):
        history.on_train_begin(Embedded(), X[:0])


def test_no_weights_on_columns():
    X, y = RNG.normal(size=(60, 3)), RNG.normal(size=60)
    net = NeuralNetRegressor(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 1)), attribution="viann")
    with pytest.raises(UnsupportedModelError, match="permutation"):
        net.fit(X, y)
    with pytest.raises(UnsupportedModelError, match="No layer with weights takes the columns"):
        VarianceImportanceTorch(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())).on_train_begin()
    with pytest.raises(NotFittedError):
        _ = VarianceImportanceTorch(nn.Linear(3, 1)).var_scores


def test_columns_on_different_scales():
    X = RNG.normal(size=(80, 3)) * [1, 1000, 1]
    y = X[:, 0]
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with pytest.warns(UserWarning, match="not on one scale"):
        NeuralNetRegressor(module, attribution="viann", lr=1e-9, max_epochs=2, random_state=0).fit(X, y)
    NeuralNetRegressor(attribution="viann", max_epochs=2, random_state=0).fit(X, y)  # which standardises
