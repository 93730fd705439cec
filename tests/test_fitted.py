import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.feature_selection import SelectFromModel
from sklearn.inspection import permutation_importance
from sklearn.utils.validation import check_is_fitted
from torch import nn

import skexplain

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def module():
    """Logits of three classes from columns 0 and 1."""
    net = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-3.0, 2, 0, 0], [0, 0, 0, 0], [3, -2, 0, 0]]))
    return net


def test_classifier(module, blobs):
    X, y = blobs
    labels = np.array(["low", "mid", "high"])[y]
    est = skexplain.from_fitted(module, X, labels, classes=["low", "mid", "high"], random_state=0)
    assert is_classifier(est)
    check_is_fitted(est)
    assert est.score(X, labels) > 0.7
    assert est.predict_proba(X).shape == (len(X), 3)
    assert est.decision_function(X).shape == (len(X), 3)
    np.testing.assert_allclose(est.feature_importances_[2:], 0)
    assert est.explain(X, target="high").target.tolist() == ["high"] * len(X)


def test_nothing_is_trained(module, blobs):
    X, y = blobs
    before = module.weight.clone()
    est = skexplain.from_fitted(module, X, y)
    assert est.fit(X, y) is est
    assert clone(est) is est
    assert torch.equal(module.weight, before)


def test_selection_and_inspection(module, blobs):
    X, y = blobs
    est = skexplain.from_fitted(module, X, y, attribution="permutation", random_state=0)
    assert SelectFromModel(est, prefit=True).get_support().tolist() == [True, True, False, False]
    assert permutation_importance(est, X, y, random_state=0).importances_mean[3] == 0


def test_regressor(line):
    X, y = line
    net = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3.0, -1, 0]]))
        net[0].bias.fill_(5)
    est = skexplain.from_fitted(net, pd.DataFrame(X, columns=["a", "b", "c"]), y, random_state=0)
    assert is_regressor(est)
    assert est.score(X, y) == pytest.approx(1)
    assert est.feature_names_in_.tolist() == ["a", "b", "c"]
    assert est.importances_.names == ("a", "b", "c")


def test_without_targets(module, blobs):
    X, _ = blobs
    est = skexplain.from_fitted(module, X, random_state=0)
    assert est.classes_.tolist() == [0, 1, 2]
    assert est.feature_importances_.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="pass y"):
        _ = skexplain.from_fitted(module, X, attribution="permutation").feature_importances_


def test_bad_input(module, blobs):
    X, y = blobs
    with pytest.raises(ValueError, match=r"cannot read rows of shape \(3,\)"):
        skexplain.from_fitted(module, X[:, :3])
    with pytest.raises(ValueError, match="classes has 2 labels"):
        skexplain.from_fitted(module, X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="y has 3 values for 150 rows"):
        skexplain.from_fitted(module, X, y[:3])
    with pytest.raises(ValueError, match="NaN"):
        skexplain.from_fitted(module, np.full((5, 4), np.nan))
    with pytest.raises(skexplain.UnsupportedModelError, match="A str is not a network"):
        skexplain.from_fitted("model.keras", X)


def test_regressors_are_told_from_classifiers(blobs):
    X, _ = blobs
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (len(X), 3))
    est = skexplain.from_fitted(nn.Linear(4, 3), X, counts)
    assert is_regressor(est)
    assert est.predict(X).shape == (len(X), 3)
    share = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    est = skexplain.from_fitted(share, X, rng.random(len(X)))
    assert is_regressor(est)
    np.testing.assert_allclose(est.predict(X), share(torch.as_tensor(X)).detach().numpy()[:, 0], rtol=1e-5)
    assert is_classifier(skexplain.from_fitted(share, X, rng.integers(2, size=len(X))))


def test_several_labels_a_row_are_refused(blobs):
    X, _ = blobs
    several = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
    with pytest.raises(skexplain.UnsupportedModelError, match=r"3 independent sigmoid outputs"):
        skexplain.from_fitted(several, X, np.random.default_rng(0).integers(2, size=(len(X), 3)))
    assert skexplain.explain(several, X, target=1, random_state=0).shape == (150, 4)


def test_estimators_keep_their_own_predictions(blobs):
    X, y = blobs
    net = skorch.NeuralNetBinaryClassifier(
        nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), threshold=0.2, max_epochs=2, verbose=0
    ).fit(X, (y > 0).astype(np.float32))
    est = skexplain.from_fitted(net, X, y > 0, attribution="permutation", random_state=0)
    np.testing.assert_array_equal(est.predict(X), net.predict(X))
