"""skorch's README and user guide with the import line changed, and the parts of skorch that must go on working."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import SliceDict, predefined_split
from torch import nn

from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor


class MyModule(nn.Module):
    def __init__(self, num_units=10, nonlin=nn.ReLU()):  # noqa: B008  as in the README
        super().__init__()
        self.dense0 = nn.Linear(20, num_units)
        self.nonlin = nonlin
        self.dropout = nn.Dropout(0.5)
        self.dense1 = nn.Linear(num_units, num_units)
        self.output = nn.Linear(num_units, 2)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, X, **kwargs):
        X = self.nonlin(self.dense0(X))
        X = self.dropout(X)
        X = self.nonlin(self.dense1(X))
        return self.softmax(self.output(X))


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(300, 20, n_informative=10, random_state=0)
    return X.astype(np.float32), y.astype(np.int64)


def test_readme(data):
    X, y = data
    net = NeuralNetClassifier(MyModule, max_epochs=10, lr=0.1, iterator_train__shuffle=True)
    net.fit(X, y)
    y_proba = net.predict_proba(X)
    assert y_proba.shape == (300, 2)
    assert len(net.history) == 10
    assert {"train_loss", "valid_loss", "valid_acc", "dur"} <= net.history[-1].keys()


def test_readme_pipeline(data):
    X, y = data
    net = NeuralNetClassifier(MyModule, max_epochs=10, lr=0.1, iterator_train__shuffle=True)
    pipe = Pipeline([("scale", StandardScaler()), ("net", net)])
    pipe.fit(X, y)
    assert pipe.predict_proba(X).shape == (300, 2)


def test_readme_grid_search(data):
    X, y = data
    net = NeuralNetClassifier(MyModule, max_epochs=10, lr=0.1, iterator_train__shuffle=True)
    net.set_params(train_split=False, verbose=0)
    params = {"lr": [0.01, 0.02], "max_epochs": [2], "module__num_units": [10, 20]}
    gs = GridSearchCV(net, params, refit=False, cv=3, scoring="accuracy", error_score="raise")
    gs.fit(X, y)
    assert set(gs.best_params_) == set(params)


def test_regression_guide():
    X, y = make_regression(200, 20, n_informative=10, random_state=0)
    X, y = X.astype(np.float32), (y.astype(np.float32) / 100).reshape(-1, 1)

    class RegressorModule(nn.Module):
        def __init__(self, num_units=10, nonlin=nn.functional.relu):
            super().__init__()
            self.nonlin = nonlin
            self.dense0, self.output = nn.Linear(20, num_units), nn.Linear(num_units, 1)

        def forward(self, X, **kwargs):
            return self.output(self.nonlin(self.dense0(X)))

    net = NeuralNetRegressor(RegressorModule, max_epochs=20, lr=0.1).fit(X, y)
    assert net.score(X, y) > 0.9


def test_callbacks(data, tmp_path):
    X, y = data
    net = NeuralNetClassifier(
        MyModule,
        max_epochs=6,
        lr=0.1,
        random_state=0,
        callbacks=[
            EpochScoring("roc_auc", lower_is_better=False, name="auc"),
            LRScheduler(policy="StepLR", step_size=2),
            Checkpoint(dirname=tmp_path, monitor="valid_loss_best"),
            ("stop", EarlyStopping(patience=3, sink=lambda *_: None)),
        ],
        callbacks__stop__patience=4,
    ).fit(X, y)
    assert len(net.history[:, "auc"]) == len(net.history)
    assert dict(net.callbacks_)["stop"].patience == 4
    assert (tmp_path / "params.pt").exists()
    net.set_params(callbacks__valid_acc=None).fit(X, y)
    assert "valid_acc" not in net.history[-1]


def test_string_labels_with_scoring_callback(data):
    X, y = data
    names = np.array(["no", "yes"])[y]
    scoring = EpochScoring("f1_macro", name="f1", lower_is_better=False)
    net = NeuralNetClassifier(MyModule, callbacks=[scoring], max_epochs=2, lr=0.1).fit(X, names)
    assert set(net.predict(X)) <= {"no", "yes"}
    assert np.isfinite(net.history[:, "f1"]).all()


def test_own_splits_and_iterators(data):
    X, y = data
    valid = Dataset(X[:50], y[:50])
    net = NeuralNetClassifier(MyModule, max_epochs=2, train_split=predefined_split(valid)).fit(X, y)
    assert np.isfinite(net.history[:, "valid_loss"]).all()
    net = NeuralNetClassifier(MyModule, max_epochs=2, train_split=ValidSplit(3, stratified=True)).fit(X, y)
    assert sum(net.history[-1, "batches", :, "valid_batch_size"][:1]) == 100
    loader = torch.utils.data.DataLoader
    net = NeuralNetClassifier(MyModule, max_epochs=2, iterator_train=loader, iterator_train__num_workers=0).fit(X, y)
    assert net.score(X, y) > 0.3


def test_datasets_and_dicts(data):
    X, y = data
    net = NeuralNetClassifier(MyModule, max_epochs=2, lr=0.1, classes=[0, 1])
    net.fit(Dataset(X, y), y=None)
    assert net.predict(Dataset(X)).shape == (300,)

    class TwoInputs(MyModule):
        def forward(self, left, right):
            return super().forward(torch.cat([left, right], 1))

    parts = SliceDict(left=X[:, :5], right=X[:, 5:])
    net = NeuralNetClassifier(TwoInputs, max_epochs=2, lr=0.1).fit(parts, y)
    assert net.predict(parts).shape == (300,)
    assert net.importances_.names[:6] == ("left[0]", "left[1]", "left[2]", "left[3]", "left[4]", "right[0]")


def test_save_and_load_params(data, tmp_path):
    X, y = data
    net = NeuralNetClassifier(MyModule, max_epochs=2, lr=0.1, random_state=0).fit(X, y)
    net.save_params(f_params=tmp_path / "net.pt")
    other = NeuralNetClassifier(MyModule, classes=[0, 1]).initialize()
    other.load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_allclose(other.predict_proba(X), net.predict_proba(X), atol=1e-6)


def test_tensors(data):
    X, y = map(torch.as_tensor, data)
    net = NeuralNetClassifier(MyModule, max_epochs=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(net.predict(X), net.predict(data[0]))
