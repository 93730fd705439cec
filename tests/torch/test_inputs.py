"""Modules of several inputs."""

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn.inspection import permutation_importance
from torch import nn

import skexplain
from skexplain._shap import entries_of
from skexplain.attributions import IntegratedGradients
from skexplain.exceptions import CompletenessError
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor

RNG = np.random.default_rng(0)


class Tabular(nn.Module):
    """Codes and numbers apart, as in fastai."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.layers = nn.Embedding(6, 3), nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x_cat, x_cont):
        assert x_cat.dtype == torch.int64
        return self.layers(torch.cat([self.table(x_cat[:, 0]), x_cont], 1))


def data(n=200):
    rng = np.random.default_rng(0)
    codes, numbers = rng.integers(6, size=(n, 1)), rng.normal(size=(n, 2)).astype(np.float32)
    return codes, numbers, 3.0 * (codes[:, 0] == 2) + 0.5 * numbers[:, 1]


QUICK = {"optimizer": torch.optim.Adam, "lr": 0.02, "max_epochs": 30, "random_state": 0}


@pytest.mark.parametrize("layout", ["tuple", "dict"])
def test_estimators(layout):
    codes, numbers, y = data()
    X = (codes, numbers) if layout == "tuple" else {"x_cont": numbers, "x_cat": codes}
    net = NeuralNetRegressor(Tabular, **QUICK).fit(X, y)
    assert net.score(X, y) > 0.9
    code = "input 0" if layout == "tuple" else "x_cat"
    assert net.importances_.names[net.importances_.ranking[0]] == code
    assert net.explain(X).values.shape == (200, 3)
    raw = skexplain.importances(net.module_, X, random_state=0)
    assert raw.names[raw.ranking[0]] == code
    by_loss = net.importances(X, y, attribution="permutation")
    assert by_loss.names[by_loss.ranking[0]] == code


@pytest.mark.parametrize("layout", ["tuple", "dict"])
def test_files_without_code(layout, tmp_path):
    codes, numbers, y = data(60)
    X = (codes, numbers) if layout == "tuple" else {"x_cont": numbers, "x_cat": codes}
    net = NeuralNetRegressor(Tabular, max_epochs=1, random_state=0).fit(X, y)
    skexplain.save(net, tmp_path / "net.skx")
    back = skexplain.load(tmp_path / "net.skx", custom_objects={"Tabular": Tabular})
    np.testing.assert_array_equal(back.predict(X), net.predict(X))
    np.testing.assert_array_equal(back.feature_importances_, net.feature_importances_)
    exp = net.explain(X)[10:13, [0, 2]]
    exp.save(tmp_path / "exp.skx")
    again = skexplain.Explanation.load(tmp_path / "exp.skx")
    assert type(again.data) is type(X)
    first = {"tuple": 0, "dict": "x_cat"}[layout]
    np.testing.assert_array_equal(again.data[first], codes[10:13])
    shown = dict(zip(again.names, entries_of(again).T, strict=True))
    np.testing.assert_array_equal(shown["input 0" if layout == "tuple" else "x_cat"], codes[10:13, 0])


def test_a_fastai_like_module_as_a_fitted_estimator():
    codes, numbers, y = data()
    module = NeuralNetRegressor(Tabular, **QUICK).fit((codes, numbers), y).module_
    X = (pd.DataFrame(codes, columns=["kind"]), pd.DataFrame(numbers, columns=["a", "b"]))
    net = skexplain.from_fitted(module, X, y, random_state=0)
    assert net.feature_names_in_.tolist() == ["kind", "a", "b"]
    assert net.feature_importances_.argmax() == 0
    table = np.column_stack([codes, numbers])
    np.testing.assert_array_equal(net.predict(X), net.predict(table))
    assert permutation_importance(net, table, y, random_state=0).importances_mean.argmax() == 0


def test_labels_are_what_they_were():
    codes, numbers, y = data()

    class TwoClasses(Tabular):
        def forward(self, x_cat, x_cont):
            out = super().forward(x_cat, x_cont)
            return torch.cat([-out, out], 1)

    labels = np.where(y > 1, "high", "low")
    net = NeuralNetClassifier(TwoClasses, **QUICK).fit({"x_cat": codes, "x_cont": numbers}, labels)
    assert set(net.predict({"x_cat": codes, "x_cont": numbers})) == {"high", "low"}


def test_shapes_and_types_of_inputs():
    """A row of codes may be a number, and a mask is a mask."""
    codes, numbers, _ = data()
    mask = numbers > 0

    class Masked(Tabular):
        def forward(self, x_cat, x_cont, mask):
            return super().forward(x_cat[:, None], torch.where(mask, x_cont, 0.0) * ~mask[:, [1, 0]])

    result = skexplain.importances(Masked(), (codes[:, 0], numbers, mask), attribution="exact_shapley")
    assert result.names[:2] == ("input 0", "input 1[0]")
    assert result.values.min() > 0
    with pytest.raises(CompletenessError):
        skexplain.importances(Masked(), (codes[:, 0], numbers, mask), attribution="saliency")


def test_what_comes_of_several_inputs():
    codes, numbers, _ = data()
    X = (codes, numbers)
    exp = skexplain.explain(Tabular(), X, random_state=0)
    assert entries_of(exp[:3]).shape == (3, 3)
    assert len(skexplain.importances(Tabular(), X, groups="correlated").names) == 3
    one = skexplain.explain(Tabular(), X, attribution=IntegratedGradients(baseline=(codes[:1], numbers[:1])))
    np.testing.assert_allclose(one.values[0], 0, atol=1e-9)


def test_skorchs_own_net_of_several_inputs():
    codes, numbers, y = data()
    X, y = {"x_cat": codes, "x_cont": numbers}, y.astype(np.float32)
    net = skorch.NeuralNetRegressor(Tabular, max_epochs=2, verbose=0).fit(X, y[:, None])
    fitted = skexplain.from_fitted(net, X, y, random_state=0)
    np.testing.assert_allclose(fitted.predict(np.column_stack([codes, numbers])), fitted.predict(X), rtol=1e-5)


def test_other_inputs():
    codes, numbers, y = data()
    net = NeuralNetRegressor(Tabular, **QUICK | {"max_epochs": 1}).fit((codes, numbers), y)
    with pytest.raises(ValueError, match="rows of shape"):
        net.predict((codes, numbers[:, :1]))
    with pytest.raises(ValueError, match="unexpected keyword argument 'x'"):
        skexplain.explain(net.module_, {"x": codes, "x_cont": numbers})
    with pytest.raises(ValueError, match="several inputs"):
        net.importances((codes, numbers), y, attribution="loco")
    with pytest.raises(ValueError, match="different numbers of rows"):
        skexplain.explain(net.module_, (codes, numbers[:3]))
