"""What only the torch estimators have: modules, devices of skorch, notebooks."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import skorch
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import cross_val_score
from torch import nn

from skexplain.torch import MLP, NeuralNetClassifier, NeuralNetRegressor
from tests.torch.nets import CodeNet


class BatchNormFirst(nn.Sequential):
    def __init__(self, input_dim, n_classes=7, width=8):
        super().__init__(nn.BatchNorm1d(input_dim), nn.Linear(input_dim, width), nn.ReLU(), nn.Linear(width, n_classes))


class ConvolutionFirst(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.conv, self.out = nn.Conv1d(1, 4, 2), nn.LazyLinear(n_outputs)

    def forward(self, x):
        return self.out(torch.relu(self.conv(x[:, None])).flatten(1))


class Record(skorch.callbacks.Callback):
    def initialize(self):
        self.states = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.states.append({k: v.clone() for k, v in net.module_.state_dict().items()})


def build(n_features, n_outputs, hidden=5):
    return nn.Sequential(nn.Linear(n_features, hidden), nn.Tanh(), nn.Linear(hidden, n_outputs))


QUICK = {"max_epochs": 20, "lr": 0.02, "optimizer": torch.optim.Adam, "random_state": 0}


@pytest.mark.parametrize("module", [BatchNormFirst, ConvolutionFirst, build, MLP, None])
def test_widths_come_from_the_data(blobs, module):
    X, y = blobs
    clf = NeuralNetClassifier(module, **QUICK).fit(X, y)
    assert clf.score(X, y) > 0.6
    assert len(clf.feature_importances_) == 4
    assert clf.set_params(attribution="permutation").fit(X[:, :3], y).feature_importances_.shape == (3,)


def test_set_parameters_win_over_the_data(blobs):
    with pytest.raises(ValueError, match="has 9 outputs"):
        NeuralNetClassifier(BatchNormFirst, module__n_classes=9).fit(*blobs)
    clf = NeuralNetClassifier(BatchNormFirst, module__width=3, **QUICK).fit(*blobs)
    assert clf.module_[1].out_features == 3


def test_category_codes(blobs):
    X, _ = blobs
    X = X[:, :3].copy()
    X[:, 0] = np.random.default_rng(0).integers(4, size=len(X))
    y = (X[:, 0] % 3).astype(int)
    clf = NeuralNetClassifier(CodeNet, **QUICK | {"max_epochs": 60}).fit(X, y)
    assert clf.score(X, y) == 1
    for attribution in ("permutation", "expected_gradients"):
        clf.set_params(attribution=attribution)
        assert len(clf.feature_importances_) == 3
        assert clf.feature_importances_.argmax() == 0


def test_module_instance_is_copied_and_drawn_anew(blobs):
    """Three folds with a learning rate of nothing and a trained module must score at chance."""
    X, y = blobs
    trained = NeuralNetClassifier(build, **QUICK | {"max_epochs": 100}).fit(X, y).module_
    before = {k: v.clone() for k, v in trained.state_dict().items()}
    scores = cross_val_score(NeuralNetClassifier(trained, lr=1e-9, max_epochs=1, random_state=1), X, y, cv=3)
    assert scores.mean() < 0.6
    assert all(torch.equal(v, before[k]) for k, v in trained.state_dict().items())
    kept = NeuralNetClassifier(trained, warm_start=True, lr=1e-9, max_epochs=1, random_state=1).fit(X, y)
    assert kept.score(X, y) > 0.9
    assert kept.module_ is not trained


def test_module_instance_without_reset_is_refused(blobs):
    class Raw(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(4, 3))

        def forward(self, x):
            return x @ self.w

    with pytest.raises(ValueError, match="Raw has weights but no `reset_parameters`"):
        NeuralNetClassifier(Raw()).fit(*blobs)


def test_partial_fit_goes_on(blobs):
    X, y = blobs
    clf = NeuralNetClassifier(max_epochs=3, random_state=0)
    losses = [clf.partial_fit(X, y, classes=[0, 1, 2]).history[-1, "train_loss"] for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert len(clf.history) == 12
    with pytest.raises(ValueError, match="label 3, which is not among the classes"):
        clf.partial_fit(X, y + 1)


def test_warm_start_goes_on(blobs):
    X, y = blobs
    clf = NeuralNetClassifier(max_epochs=3, random_state=0, warm_start=True).fit(X, y)
    first = clf.history[-1, "train_loss"]
    assert clf.fit(X, y).history[-1, "train_loss"] < first


def test_unexpected_argument_is_named(blobs):
    with pytest.raises(ValueError, match=r"unexpected argument.*modul_hidden"):
        NeuralNetClassifier(modul_hidden=3).fit(*blobs)


@pytest.mark.parametrize("params", [{"module": MLP}, {"module__sparsity": 1.0}], ids=["MLP", "default"])
def test_early_stopping_keeps_the_best_weights(params):
    X, y = load_breast_cancer(return_X_y=True)
    record = Record()
    clf = NeuralNetClassifier(random_state=0, callbacks=[record], **params).fit(X, y)
    losses = clf.history[:, "valid_loss"]
    assert len(losses) < 200
    best = int(np.argmin(losses))
    assert len(losses) - 1 - best == 15
    kept = dict(clf.callbacks_)["Record"].states[best]
    assert all(torch.equal(v, kept[k]) for k, v in clf.module_.state_dict().items())


def test_epochs_that_are_set_are_run(blobs):
    X, y = blobs
    clf = NeuralNetClassifier(random_state=0, max_epochs=60).fit(X, y)
    assert len(clf.history) == 60
    assert "valid_loss" not in clf.history[-1]


DATA = {
    "breast_cancer": load_breast_cancer,
    "wine": load_wine,
    "digits": load_digits,
    "diabetes": load_diabetes,
    "friedman1": lambda return_X_y: make_friedman1(500, noise=1.0, random_state=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_defaults_are_as_good_as_a_forest(name):
    X, y = DATA[name](return_X_y=True)
    regression = name in ("diabetes", "friedman1")
    ours, forest = (
        (NeuralNetRegressor, RandomForestRegressor) if regression else (NeuralNetClassifier, RandomForestClassifier)
    )
    score = cross_val_score(ours(random_state=0), X, y, error_score="raise").mean()
    reference = cross_val_score(forest(random_state=0), X, y).mean()
    assert score >= reference - (0 if regression else 0.02)


def test_module_from_main_with_two_jobs(tmp_path):
    """A module defined in a script or notebook must travel to workers, fitted too."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import numpy as np, torch
        from sklearn.inspection import permutation_importance
        from sklearn.model_selection import GridSearchCV
        from skexplain.torch import NeuralNetClassifier

        class Mine(torch.nn.Sequential):
            def __init__(self, n_features, n_outputs, width=4):
                super().__init__(torch.nn.Linear(n_features, width), torch.nn.ReLU(), torch.nn.Linear(width, n_outputs))

        if __name__ == "__main__":
            rng = np.random.default_rng(0)
            X = rng.normal(size=(60, 3)); y = (X[:, 0] > 0).astype(int)
            net = NeuralNetClassifier(Mine, random_state=0, max_epochs=30, lr=0.1).fit(X, y)
            search = GridSearchCV(net, {"module__width": [2, 6]}, cv=2, n_jobs=2, error_score="raise").fit(X, y)
            alone = search.best_estimator_.__class__(**search.best_estimator_.get_params(deep=False)).fit(X, y)
            np.testing.assert_array_equal(alone.feature_importances_, search.best_estimator_.feature_importances_)
            print(permutation_importance(net, X, y, n_jobs=2, random_state=0).importances_mean.argmax())
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0"]


def test_weights_are_never_dropped(blobs):
    """Iterators and data sets of the user's do not carry them, so they are refused together."""
    X, y = blobs
    weight = np.where(y == 2, 100.0, 1e-3)
    for params in (
        {"iterator_train__num_workers": 0},
        {"iterator_train": type("Mine", (torch.utils.data.DataLoader,), {})},
        {"dataset": type("Own", (skorch.dataset.Dataset,), {})},
    ):
        with pytest.raises(ValueError, match="sample_weight and class_weight are carried by the iterator for arrays"):
            NeuralNetClassifier(build, **QUICK, **params).fit(X, y, sample_weight=weight)


def test_rows_are_shuffled_by_a_data_loader_too(blobs):
    X, y = blobs
    first = []

    class Spy(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 3))

        def forward(self, x):
            if self.training:
                first.append(x[:3].clone())
            return super().forward(x)

    NeuralNetClassifier(Spy, max_epochs=1, train_split=None, iterator_train__num_workers=0, random_state=0).fit(X, y)
    assert not np.allclose(first[0], X[:3])


class Probabilities(nn.Sequential):
    def __init__(self, n_features, n_outputs):
        super().__init__(nn.Linear(n_features, n_outputs), nn.Softmax(1))


@pytest.mark.filterwarnings("ignore")  # of torch.compile
def test_compiled_losses_are_the_same_losses(blobs):
    """torch.compile wraps the criterion too; "eager" compiles without a compiler."""
    X, y = blobs
    plain = NeuralNetClassifier(Probabilities, **QUICK).fit(X, y)
    compiled = NeuralNetClassifier(Probabilities, compile=True, compile__backend="eager", **QUICK).fit(X, y)
    np.testing.assert_allclose(compiled.predict_proba(X), plain.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(compiled.feature_importances_, plain.feature_importances_, atol=1e-5)


def test_frozen_layers_stay(blobs):
    X, y = blobs
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    module[0].requires_grad_(False)
    clf = NeuralNetClassifier(module, **QUICK).fit(X, y)
    assert torch.equal(clf.module_[0].weight, module[0].weight)
    assert not torch.equal(clf.module_[2].weight, module[2].weight)


def test_training_mode_sees_no_padding(blobs):
    X, y = blobs
    clf = NeuralNetClassifier(BatchNormFirst, **QUICK).fit(X, y)
    clf.module_[0].momentum = 1.0
    clf.forward(X[:10] + 5, training=True)
    np.testing.assert_allclose(clf.module_[0].running_mean, (X[:10] + 5).mean(axis=0), rtol=1e-5)


def test_parameters_set_after_fit_wait_for_the_next(blobs):
    X, y = blobs
    clf = NeuralNetClassifier(module__hidden=(8,), max_epochs=5, random_state=0).fit(X, y)
    p = clf.predict_proba(X)
    clf.set_params(module__hidden=(5,), dtype="float64")
    np.testing.assert_allclose(clf.predict_proba(X), p, rtol=1e-5)
    clf.set_params(optimizer=torch.optim.SGD, criterion=nn.CrossEntropyLoss, iterator_train__shuffle=False)
    np.testing.assert_allclose(clf.predict_proba(X), p, rtol=1e-5)
    clf.set_params(lr=0.5)
    assert clf.optimizer_.param_groups[0]["lr"] == 0.5  # at once, as in skorch
    clf.fit(X, y)
    assert isinstance(clf.optimizer_, torch.optim.SGD)
    assert clf.module_[1].out_features == 5
    assert clf.module_[1].weight.dtype == torch.float64


def test_importances_follow_the_weights(blobs, tmp_path):
    X, y = blobs
    clf = NeuralNetClassifier(max_epochs=20, random_state=0).fit(X, y)
    other = NeuralNetClassifier(max_epochs=20, random_state=1).fit(X, y)
    first = clf.feature_importances_
    other.save_params(f_params=tmp_path / "other.pt")
    clf.load_params(f_params=tmp_path / "other.pt")
    assert not np.array_equal(clf.feature_importances_, first)
    mine = NeuralNetClassifier(build(4, 3), **QUICK).fit(X, y)
    _ = mine.feature_importances_
    mine.fit(skorch.dataset.Dataset(X, y), None)
    assert not hasattr(mine, "feature_importances_")


class WithPenalty(NeuralNetClassifier):
    """skorch's usual way to extend a net."""

    def __init__(self, *args, lambda1=0.01, **kwargs):
        super().__init__(*args, **kwargs)
        self.lambda1 = lambda1

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        loss = super().get_loss(y_pred, y_true, *args, **kwargs)
        return loss + self.lambda1 * sum(w.abs().sum() for w in self.module_.parameters())


def test_subclasses_of_users(blobs):
    X, y = blobs
    free = WithPenalty(build, lambda1=0.0, **QUICK).fit(X, y)
    tight = WithPenalty(build, lambda1=1.0, **QUICK).fit(X, y)
    size = [sum(float(p.detach().abs().sum()) for p in net.module_.parameters()) for net in (free, tight)]
    assert size[1] < 0.7 * size[0]
    copied = clone(tight)
    assert copied.lambda1 == 1.0
    assert copied.module is build
    with pytest.raises(ValueError, match=r"unexpected argument.*lambda2"):
        WithPenalty(build, lambda2=1).fit(X, y)


def test_callbacks_read_numbers(blobs):
    seen = {}

    class Reads(skorch.callbacks.Callback):
        def on_train_begin(self, net, **kwargs):
            seen.update(size=net.batch_size + 0, epochs=net.max_epochs + 0, lr=net.lr + 0.0, optimizer=net.optimizer)

    clf = NeuralNetClassifier(build, callbacks=[Reads]).fit(*blobs)
    assert seen == {"size": 128, "epochs": 10, "lr": 0.01, "optimizer": torch.optim.SGD}
    assert (clf.batch_size, clf.max_epochs, clf.lr, clf.optimizer) == ("auto",) * 4


class LooksUp(nn.Module):
    def __init__(self):
        super().__init__()
        self.codes, self.out = nn.Embedding(5, 2), nn.Linear(2, 3)

    def forward(self, x):
        return self.out(self.codes(x).mean(1))


def test_integers_for_a_look_up_are_named(blobs):
    with pytest.raises(ValueError, match=r"looks X up as integers, but gets float32.*`x.long\(\)`"):
        NeuralNetClassifier(LooksUp).fit(np.ones((10, 2), dtype=int), np.arange(10) % 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_size": 0}, "batch_size == 0, must be >= 1"),
        ({"max_epochs": -1}, "max_epochs == -1, must be >= 0"),
        ({"module__hidden": 8}, r"hidden=8 must be a sequence of widths"),
        ({"module__hidden": (8, 0)}, r"hidden=\(8, 0\) must be a sequence of widths"),
    ],
)
def test_bad_parameters(blobs, params, message):
    with pytest.raises(ValueError, match=message):
        NeuralNetClassifier(**params).fit(*blobs)


def test_repr_shows_what_was_set():
    assert repr(NeuralNetClassifier(lr=0.1, module__hidden=(3,))) == "NeuralNetClassifier(lr=0.1, module__hidden=(3,))"
    assert "NeuralNetRegressor" in NeuralNetRegressor()._repr_html_()


def test_is_a_skorch_net():
    assert issubclass(NeuralNetClassifier, skorch.NeuralNetClassifier)
    assert issubclass(NeuralNetRegressor, skorch.NeuralNetRegressor)
    assert not hasattr(NeuralNetRegressor(), "predict_proba")
