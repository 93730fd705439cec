import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skexplain
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import Ablation, _ablation

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(30, 4)), RNG.normal(size=(20, 4)) + 1
ALONE = [np.array([j]) for j in range(4)]


class Products(Network):
    """f_0 = x_0 x_1 + x_2 and f_1 = -f_0; column 3 is not used, no gradient."""

    head = Head("linear", 2)

    def raw(self, X):
        f = X[:, 0] * X[:, 1] + X[:, 2]
        return np.stack([f, -f], axis=1)

    def gradient(self, X, target):
        raise AssertionError


def attribute(baseline="background", groups=ALONE, net=None, X=X, B=B):
    targets = np.stack([np.zeros(len(X), int), np.arange(len(X)) % 2])
    return Ablation(baseline=baseline).attribute_groups(net or Products(), X, B, groups, targets, None)


SIGN = np.where(np.arange(30) % 2, -1, 1)[:, None]


@pytest.mark.parametrize(
    ("baseline", "b"), [("mean", B.mean(axis=0)), ("zero", np.zeros(4)), ("background", B.mean(axis=0))]
)
def test_closed_form(baseline, b):
    want = np.stack([(X[:, 0] - b[0]) * X[:, 1], X[:, 0] * (X[:, 1] - b[1]), X[:, 2] - b[2], 0 * X[:, 3]], axis=1)
    got = attribute(baseline).values
    np.testing.assert_allclose(got[0], want, atol=1e-12)
    np.testing.assert_allclose(got[1], SIGN * want, atol=1e-12)


def test_groups_are_replaced_together():
    got = attribute(groups=[np.array([0, 1]), np.array([2, 3])]).values[0]
    together = X[:, 0] * X[:, 1] - (B[:, 0] * B[:, 1]).mean()
    np.testing.assert_allclose(got, np.stack([together, X[:, 2] - B[:, 2].mean()], axis=1), atol=1e-12)


def test_standard_error_is_that_of_the_baselines():
    got = attribute()
    np.testing.assert_allclose(got.error[0, :, 2], B[:, 2].std(ddof=1) / np.sqrt(20), rtol=1e-9)
    assert not got.error[..., 3].any()
    assert attribute("mean").error is None


def test_standard_error_covers_other_backgrounds():
    hits = []
    for seed in range(200):
        rows = np.random.default_rng(seed).normal(size=(30, 4))
        got = attribute(B=rows)
        hits.append(np.abs(got.values[0, :, 2] - X[:, 2]).max() < 2.05 * got.error[0, 0, 2])
    assert 0.9 <= np.mean(hits) <= 0.99


def test_blocks_do_not_matter(monkeypatch):
    whole = attribute()
    monkeypatch.setattr(_ablation, "OUTPUTS", 100)
    parts = attribute()
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-12)
    np.testing.assert_allclose(parts.error, whole.error, atol=1e-12)


def test_whole_numbers_are_replaced_by_fractions():
    rows = np.array([[1, 2, 3, 4]])
    got = attribute([0.5, 0, 0, 0], X=rows, B=rows).values[0]
    np.testing.assert_allclose(got, [[1.0, 2, 3, 0]])


def test_pipeline_of_text_and_numbers():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"colour": rng.choice(["red", "blue"], 80), "size": rng.normal(size=80), "noise": 0.0})
    y = 3.0 * (frame["colour"] == "red")
    hot = ColumnTransformer([("hot", OneHotEncoder(), ["colour"])], remainder="passthrough")
    model = make_pipeline(hot, RandomForestRegressor(10, random_state=0)).fit(frame, y)
    got = skexplain.explain(model, frame[:10], attribution=Ablation(), background=frame)
    assert np.abs(got.values).mean(axis=0).argmax() == 0
    red = (frame["colour"] == "red").to_numpy()
    np.testing.assert_allclose(got.values[:, 0], np.where(red[:10], 3, 0) - 3 * red.mean(), atol=1e-9)
    with pytest.raises(ValueError, match="use baseline='background'"):
        skexplain.explain(model, frame[:10], attribution=Ablation(baseline="mean"), background=frame)


def test_fractions_of_whole_columns_are_not_cut_off():
    frame = pd.DataFrame({"bit": RNG.integers(2, size=50), "x": RNG.normal(size=50)})
    model = RandomForestRegressor(10, random_state=0).fit(frame, frame["bit"] + frame["x"])
    at_mean = frame.assign(bit=frame["bit"].mean())
    got = skexplain.explain(model, frame, attribution=Ablation(baseline="mean"), background=frame)
    np.testing.assert_allclose(got.values[:, 0], model.predict(frame) - model.predict(at_mean), atol=1e-9)


@pytest.mark.parametrize("baseline", ["median", [1, 2], [np.inf, 0, 0, 0]])
def test_bad_baselines(baseline):
    with pytest.raises(ValueError, match="baseline"):
        attribute(baseline)
