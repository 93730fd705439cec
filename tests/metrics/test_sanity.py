"""sanity_check: what does not look at the network fails; each verdict can be reached."""

import warnings

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain.attributions import LOCO, Attribution
from skexplain.datasets import make_linear
from skexplain.metrics._randomised import randomised


class Blind(Attribution):
    """How far the row is from the background: it never asks the network."""

    def attribute(self, network, X, background, target, rng):
        return np.abs(X - background.mean(axis=0)) * np.arange(X.shape[1], 0, -1)


class Noise(Attribution):
    def attribute(self, network, X, background, target, rng):
        size = np.random.default_rng(abs(int(1e6 * background.sum()))).random(X.shape[1])
        return np.broadcast_to(size, X.shape)


class LastColumn(Attribution):
    def attribute(self, network, X, background, target, rng):
        return np.where(np.arange(X.shape[1]) == X.shape[1] - 1, 1.0, 0.0) * np.ones(X.shape)


@pytest.fixture(scope="module")
def data():
    return make_linear(240, 8, random_state=0)


def net():
    return MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=100, alpha=0.1)


@pytest.fixture(autouse=True)
def _unfinished():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lbfgs failed to converge")
        yield


def test_a_sound_strategy_passes(data):
    report = skexplain.sanity_check(net(), data.data, data.target, n_repeats=2)
    assert {c.name: c.verdict for c in report.checks} == {
        "weight randomisation": "pass",
        "label permutation": "pass",
        "random probe": "pass",
        "duplicated column": "pass",
        "background": "pass",
    }
    assert report.passed
    assert report.n_fits == 7
    assert report["duplicated column"].measured == pytest.approx(1, abs=0.2)
    assert "weight randomisation  pass" in repr(report)
    with pytest.raises(KeyError, match="no check 'weights'"):
        report["weights"]


def test_a_strategy_that_ignores_the_weights_fails(data):
    report = skexplain.sanity_check(net(), data.data, data.target, attribution=Blind(), n_repeats=1)
    assert report["weight randomisation"].verdict == "fail"
    assert report["label permutation"].verdict == "fail"
    assert report["weight randomisation"].measured == 1
    assert not report.passed


def test_constant_importances_fail(data):
    class Constant(Attribution):
        def attribute(self, network, X, background, target, rng):
            return np.ones(X.shape)

    report = skexplain.sanity_check(net(), data.data, data.target, attribution=Constant(), n_repeats=1)
    assert report["weight randomisation"].verdict == "fail"


def test_what_the_background_decides_fails(data):
    report = skexplain.sanity_check(net(), data.data, data.target, attribution=Noise(), n_repeats=1)
    assert report["background"].verdict == "fail"
    assert report["background"].measured > 0.25


def test_a_probe_above_all_columns_fails(data):
    report = skexplain.sanity_check(net(), data.data, data.target, attribution=LastColumn(), n_repeats=1)
    assert report["random probe"].verdict == "fail"
    assert report["random probe"].measured == 0


def test_loco_hides_columns_that_have_a_double(data):
    report = skexplain.sanity_check(net(), data.data, data.target, attribution=LOCO(cv=2), n_repeats=1)
    assert report["duplicated column"].verdict == "fail"
    assert report["label permutation"].verdict != "fail"  # it trains on the shuffled labels too
    assert report["weight randomisation"].verdict == "not run"
    assert "trains anew" in report["weight randomisation"].why
    assert np.isnan(report["background"].measured)


def test_column_scales_are_cautioned(data):
    """Columns of very different sizes: whatever the weights, the largest moves the output most."""
    X = data.data * 3.0 ** np.arange(8)
    report = skexplain.sanity_check(net(), X, data.target, n_repeats=1)
    assert report["weight randomisation"].verdict in ("caution", "fail")


def test_weights_are_random_and_the_model_is_left_alone(data):
    pipe = make_pipeline(StandardScaler(), net()).fit(data.data, data.target)
    before = [W.copy() for W in pipe[-1].coefs_]
    other = randomised(pipe, np.random.default_rng(0))
    for W, V, U in zip(before, pipe[-1].coefs_, other[-1].coefs_, strict=True):
        np.testing.assert_array_equal(W, V)
        assert abs(np.corrcoef(W.ravel(), U.ravel())[0, 1]) < 0.9
        assert 0.3 < np.sqrt(np.mean(U**2) / np.mean(W**2)) < 2
    assert other[0].mean_ is not None
    assert skexplain.sanity_check(make_pipeline(StandardScaler(), net()), data.data, data.target, n_repeats=1).passed
    forest = RandomForestRegressor(2, random_state=0).fit(data.data, data.target)
    with pytest.raises(skexplain.UnsupportedModelError, match="no weights"):
        randomised(forest, np.random.default_rng(0))


def test_classes_frames_and_seed(data):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(data.data, columns=[f"c{j}" for j in range(8)])
    y = np.where(data.target > 0, "yes", "no")
    before, state = X.copy(), np.random.get_state()[1].copy()
    clf = MLPClassifier((8,), solver="lbfgs", max_iter=100, alpha=1.0)
    a, b = (skexplain.sanity_check(clf, X, y, n_repeats=1, random_state=1) for _ in range(2))
    assert repr(a) == repr(b)
    assert a.passed
    assert list(a.to_frame()) == ["name", "verdict", "measured", "why"]
    pd.testing.assert_frame_equal(X, before)
    assert (np.random.get_state()[1] == state).all()
