"""Training without bookkeeping between batches: the same weights, history and generators as skorch's own loop."""

import numpy as np
import pytest
import torch
from skorch.callbacks import BatchScoring, Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from torch import nn

from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor, _epoch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


class Looks(Callback):
    """Wants to see each batch, and so has skorch's loop run."""

    def __init__(self):
        self.seen = 0

    def on_batch_end(self, net, training, **kwargs):
        self.seen += training


@pytest.fixture
def epochs(monkeypatch):
    """How many epochs were run without bookkeeping."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return _epoch.run_epoch(*args, **kwargs)

    monkeypatch.setattr("skexplain.torch._net.run_epoch", counted)
    return calls


def fitted(callbacks=(), **params):
    params = {"max_epochs": 4, "batch_size": 16, "random_state": 0} | params
    weight = params.pop("sample_weight", None)
    cls = params.pop("cls", NeuralNetClassifier)
    target = Y if cls is NeuralNetClassifier else X[:, 0] * 2
    return cls(params.pop("module", Net), callbacks=list(callbacks), **params).fit(X, target, sample_weight=weight)


def history(net):
    return [{k: v for k, v in row.items() if k != "dur"} for row in net.history.to_list()]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"optimizer": torch.optim.Adam, "optimizer__weight_decay": 0.1},
        {"sample_weight": np.linspace(0.1, 2, 90)},
        {"train_split": None, "iterator_train__shuffle": False},
        {"module": None, "max_epochs": 3},
        {"dtype": "float64", "class_weight": "balanced"},
        {"cls": NeuralNetRegressor, "module": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))},
    ],
    ids=["plain", "adam", "weights", "whole", "default module", "float64", "regressor"],
)
def test_same_as_skorch(epochs, params):
    fast = fitted(**params)
    assert len(epochs) == len(fast.history)
    del epochs[:]
    slow = fitted([Looks()], **params)
    assert not epochs
    assert slow.callbacks[0].seen
    for a, b in zip(fast.module_.parameters(), slow.module_.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(fast.module_.buffers(), slow.module_.buffers(), strict=True):
        assert torch.equal(a, b)
    assert history(fast) == history(slow)


def test_callbacks_that_look_at_epochs(epochs, tmp_path):
    def callbacks():
        return [
            EarlyStopping(patience=2, sink=lambda text: None),
            Checkpoint(dirname=str(tmp_path), monitor="valid_loss_best"),
            EpochScoring("roc_auc", name="auc", lower_is_better=False),
            LRScheduler("StepLR", step_size=2),
        ]

    fast = fitted(callbacks(), max_epochs=12)
    assert len(epochs) == len(fast.history)
    slow = fitted([*callbacks(), Looks()], max_epochs=12)
    assert history(fast) == history(slow)


@pytest.mark.parametrize(
    "callback",
    [
        Looks(),
        BatchScoring("accuracy", on_train=True, name="acc"),
        EpochScoring("accuracy", on_train=True, name="acc"),
    ],
    ids=["own", "batch scores", "epoch scores"],
)
def test_callbacks_that_look_at_batches_see_them(epochs, callback):
    net = fitted([callback])
    assert not epochs
    if not isinstance(callback, Looks):
        assert len(net.history[:, "acc"]) == 4


@pytest.mark.parametrize("name", ["train_step_single", "infer", "get_loss", "on_batch_end"])
def test_own_steps_are_taken(epochs, name):
    calls = []

    def own(self, *args, **kwargs):
        calls.append(1)
        return getattr(super(Own, self), name)(*args, **kwargs)

    class Own(NeuralNetClassifier):
        pass

    setattr(Own, name, own)
    Own(Net, max_epochs=2, random_state=0).fit(X, Y)
    assert calls
    assert not epochs


def test_optimizers_that_need_a_closure(epochs):
    fitted(optimizer=torch.optim.LBFGS, max_epochs=2)
    assert not epochs


def test_other_iterators(epochs):
    fitted(iterator_train__num_workers=0, max_epochs=1)
    assert not epochs


def test_forward_parameters(epochs):
    class Scaled(Net):
        def forward(self, x, scale=1.0):
            return super().forward(x) * scale

    net = NeuralNetClassifier(Scaled, max_epochs=2, batch_size=16, random_state=0).fit(X, Y, scale=2.0)
    assert len(epochs) == 2
    slow = NeuralNetClassifier(Scaled, max_epochs=2, batch_size=16, random_state=0, callbacks=[Looks()])
    slow.fit(X, Y, scale=2.0)
    assert history(net) == history(slow)


@pytest.mark.parametrize("name", ["validation_step", "infer", "get_loss", "on_batch_end"])
def test_own_steps_of_validation_are_taken(monkeypatch, name):
    calls, scored = [], []
    monkeypatch.setattr("skexplain.torch._net.score_epoch", lambda *args: scored.append(1))

    class Own(NeuralNetClassifier):
        pass

    setattr(Own, name, lambda self, *args, **kw: calls.append(1) or getattr(super(Own, self), name)(*args, **kw))
    Own(Net, max_epochs=2, random_state=0).fit(X, Y)
    assert calls
    assert not scored


def test_scores_of_validation_batches_are_made(monkeypatch):
    net = fitted([BatchScoring("accuracy", name="acc")])
    assert len(net.history[:, "acc"]) == 4
    scored = fitted([EpochScoring("accuracy", name="acc")])
    assert scored.history[:, "acc"] == scored.history[:, "valid_acc"]


def test_verbose(capsys):
    fitted()
    assert not capsys.readouterr().out
    fitted(verbose=1)
    assert "valid_acc" in capsys.readouterr().out
