"""Training without bookkeeping between batches: the same weights, history and generators as skorch's own loop."""

import numpy as np
import pytest
import torch
from skorch.callbacks import BatchScoring, Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from torch import nn

from skexplain.torch import ColumnGatedMLP, NeuralNetClassifier, NeuralNetRegressor, _epoch
from skexplain.training._input_weights import input_weights
from skexplain.training._watcher import Watcher

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


class Weights(Watcher):
    """Keeps the first layer's weights after each step."""

    per_step = True

    def _begin(self):
        self.weights = input_weights(self._model, self._rows)
        self.seen = []

    def _step(self):
        out = np.empty(self.weights.size)
        self.weights.read_into(out)
        self.seen.append(out)

    def _end(self):
        del self.weights


def first_weight(net):
    """What the first layer multiplies its inputs by."""
    if isinstance(net.module_, ColumnGatedMLP):
        return net.module_.gated_layer.gated_weight()
    return next(p for p in net.module_.parameters() if p.ndim == 2)


@pytest.mark.parametrize(
    "params",
    [
        {"module": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), "optimizer": torch.optim.Adam},
        {"module": None},
        {"optimizer__momentum": 0.9},
        {"module": lambda: nn.Sequential(nn.Linear(4, 8), nn.Softsign(), nn.Linear(8, 2))},
    ],
    ids=["adam", "default module", "momentum", "by autograd"],
)
def test_watchers_see_the_weights_after_each_step(epochs, params):
    watcher, same = Weights(), Weights()
    fast = fitted([watcher], **params)
    assert len(epochs) == len(fast.history) == 4
    del epochs[:]
    slow = fitted([same, Looks()], **params)
    assert not epochs
    steps = sum(fast.history[:, "train_batch_count"])
    assert len(watcher.seen) == slow.callbacks[1].seen == steps  # of training batches only
    assert np.array_equal(watcher.seen, same.seen)
    assert np.array_equal(watcher.seen[-1], first_weight(fast).detach().numpy().ravel())
    assert len({seen.tobytes() for seen in watcher.seen}) == len(watcher.seen)


@pytest.mark.parametrize("module", [Net, None], ids=["own", "default"])
def test_watched_trainings_end_where_others_do(module):
    plain, watched = fitted(module=module), fitted([Weights()], module=module)
    for a, b in zip(plain.module_.parameters(), watched.module_.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a.grad, b.grad)
    ours, theirs = (net.optimizer_.state_dict()["state"] for net in (plain, watched))
    assert all(
        torch.equal(ours[k][name], theirs[k][name]) for k in ours for name in ours[k] if ours[k][name] is not None
    )
    assert history(plain) == history(watched)


def test_parameters_keep_their_memory():
    class Addresses(Weights):
        def _begin(self):
            super()._begin()
            self.addresses = [[p.data_ptr() for p in self._model.parameters()]]

        def _epoch(self, logs):
            self.addresses.append([p.data_ptr() for p in self._model.parameters()])

    watcher = Addresses()
    fitted([watcher])
    assert len(watcher.addresses) == 5
    assert all(addresses == watcher.addresses[0] for addresses in watcher.addresses)


def test_watchers_of_the_estimator_are_called(epochs):
    class Own(NeuralNetClassifier):
        pass

    watcher = Weights()
    net = Own(Net, max_epochs=2, batch_size=16, random_state=0).initialize()
    watcher.on_train_begin(net.module_)
    net.__dict__["_watchers"] = [watcher]
    net.history.new_epoch()
    _epoch.run_epoch(net, net.get_iterator(net.get_dataset(X, Y), training=True), "train")
    assert len(watcher.seen) == 6


def test_watchers_that_look_at_batches_see_them(epochs):
    class Batches(Weights):
        batches = 0

        def on_batch_begin(self, *args, **kwargs):
            self.batches += 1

    watcher = Batches()
    fitted([watcher])
    assert watcher.batches
    assert not epochs


def test_a_watcher_that_fails_leaves_what_was_trained():
    class Fails(Weights):
        def _step(self):
            super()._step()
            if len(self.seen) == 3:
                raise ZeroDivisionError

    watcher, same = Fails(), Weights()
    net = NeuralNetClassifier(None, callbacks=[watcher], max_epochs=1, batch_size=16, random_state=0)
    with pytest.raises(ZeroDivisionError):
        net.fit(X, Y)
    fitted([same], module=None, max_epochs=1)
    assert np.array_equal(first_weight(net).detach().numpy().ravel(), same.seen[2])
