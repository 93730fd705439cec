"""Predictions without skorch's bookkeeping between batches."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.mark.parametrize("last", [nn.Identity, lambda: nn.Softmax(1), lambda: nn.LogSoftmax(1)])
def test_probabilities(last):
    net = NeuralNetClassifier(lambda: nn.Sequential(Net(), last()), max_epochs=1, random_state=0).fit(X, Y)
    net.module_.train()
    p = net.predict_proba(X)
    assert not net.module_.training
    with torch.no_grad():
        z = net.module_[0].double()(torch.as_tensor(X).double())
    np.testing.assert_allclose(p, z.softmax(1).numpy(), atol=1e-5)
    net.module_.float()
    np.testing.assert_array_equal(net.predict(X), p.argmax(1))
    for rows in ([3], [299, 3, 599], range(250, 300)):  # alone as among others
        np.testing.assert_array_equal(net.predict_proba(X[rows]), p[rows])
    np.testing.assert_array_equal(net.predict_proba(np.asfortranarray(X)), p)


@pytest.mark.parametrize("name", ["evaluation_step", "infer", "_set_training"])
def test_own_methods_are_called(name):
    calls = []

    class Own(NeuralNetClassifier):
        pass

    setattr(Own, name, lambda self, *args, **kw: calls.append(1) or getattr(super(Own, self), name)(*args, **kw))
    net = Own(Net, max_epochs=1, random_state=0).fit(X, Y)
    del calls[:]
    net.predict(X)
    assert calls


def test_dropout_in_predictions_of_training():
    """`forward(training=True)` draws, and computes gradients."""
    net = NeuralNetClassifier(Net, max_epochs=1, random_state=0).fit(X, Y)
    a, b = (net.forward(X, training=True) for _ in range(2))
    assert not torch.equal(a, b)
    assert a.requires_grad
    assert torch.is_grad_enabled()
    for _ in net.forward_iter(X):
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "bb", "c"], [1.0, 2.0, 3.0], [True, False]], ids=str)
def test_score(labels):
    y = np.asarray(labels)[np.minimum(Y, len(labels) - 1)]
    net = NeuralNetClassifier(Net if len(labels) == 3 else None, max_epochs=1, random_state=0).fit(X, y)
    predicted, weight = net.predict(X), RNG.uniform(size=len(X))
    for target in (y, y.tolist()):
        assert net.score(X, target) == accuracy_score(list(y), list(predicted))
    assert net.score(X, y, sample_weight=weight) == accuracy_score(y, predicted, sample_weight=weight)
    assert type(net.score(X, y)) is float


def test_score_of_another_number_of_rows():
    net = NeuralNetClassifier(Net, max_epochs=1, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        net.score(X, Y[:-1])


def test_regressor():
    net = NeuralNetRegressor(None, max_epochs=2, random_state=0).fit(X, X[:, 0])
    p = net.predict(X)
    np.testing.assert_array_equal(net.predict(X[[5, 500]]), p[[5, 500]])


@pytest.mark.parametrize(
    ("batch_size", "width", "wanted"), [(16, 4, 256), (16, 1024, 32), (64, 1024, 64), (-1, 1024, 256)]
)
def test_rows_at_once(batch_size, width, wanted):
    """Many short rows, as many long ones as in training."""
    rows = RNG.normal(size=(300, width)).astype(np.float32)
    net = NeuralNetRegressor(nn.LazyLinear, module__out_features=1, batch_size=batch_size, max_epochs=0)
    net.fit(rows, rows[:, 0])
    seen = []
    net.module_.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    p = net.predict(rows)
    assert set(seen) == {wanted}
    np.testing.assert_array_equal(net.predict(rows[7:9]), p[7:9])


def test_modules_that_return_a_mapping():
    """As those of transformers do: the logits count, and slices of the mapping are not of rows."""

    class Output(dict):
        def __getitem__(self, key):
            return tuple(self.values())[key] if isinstance(key, slice) else super().__getitem__(key)

        @property
        def logits(self):
            return self["logits"]

    class Returns(Net):
        def forward(self, x):
            return Output(logits=super().forward(x), pooled=x)

    for kind, y in ((NeuralNetClassifier, Y), (NeuralNetRegressor, np.eye(3)[Y])):
        net = kind(Returns, max_epochs=2, random_state=0).fit(X, y)
        plain = kind(Net, max_epochs=2, random_state=0).fit(X, y)
        np.testing.assert_allclose(net.predict(X), plain.predict(X), rtol=1e-5)
