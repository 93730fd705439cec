"""Importances of refits, and whether their intervals are right."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain import RefitImportances, UnsupportedModelError, refit_importances
from skexplain._components import components
from skexplain.attributions import Permutation

COLUMNS = 3000


def drawn(seed_sd, draw_sd, own=(7.0, 7.0, 0.0), J=10, S=2, R=2, n=90, m=60):
    """Importances of many columns, each by itself, and what each level is about.

    A row has an effect when it is trained on, another when it is explained, and ``own[2]`` is what both share.
    """
    rng = np.random.default_rng(0)
    both = own[2] * rng.normal(size=(n, COLUMNS))
    trained, held = (own[k] * rng.normal(size=(n, COLUMNS)) + both for k in range(2))
    means = np.empty((J, 2, COLUMNS))
    for j in range(J):
        a, b = np.split(rng.permutation(n)[:m], 2)
        means[j] = trained[a].mean(axis=0) + held[b].mean(axis=0), trained[b].mean(axis=0) + held[a].mean(axis=0)
    fits = means[:, :, None] + seed_sd * rng.normal(size=(J, 2, S, COLUMNS))
    values = fits[:, :, :, None] + draw_sd * rng.normal(size=(J, 2, S, R, COLUMNS))
    truths = {"explanation": fits.mean(axis=(0, 1, 2)), "model": means.mean(axis=(0, 1)), "data": np.zeros(COLUMNS)}
    return values, truths, m / (n - m)


def coverage(values, truths, overlap, halved=None):
    """Of 95 % intervals, with the standard error of one component halved."""
    found = components(values, overlap)
    parts = {level: getattr(found, level) / (4 if level == halved else 1) for level in truths}
    rates, variance, mean = {}, 0, values.mean(axis=(0, 1, 2, 3))
    for level, truth in truths.items():
        variance = variance + parts[level]
        half = t.ppf(0.975, found.dof[level]) * np.sqrt(variance)
        rates[level] = float(np.mean(np.abs(mean - truth) <= half))
    return rates


@pytest.mark.parametrize("own", [(10, 0, 0), (0, 10, 0), (7, 7, 0), (1, 1, 7)])
def test_intervals_contain_the_truth(own):
    """Whether rows matter when they are trained on, when they are explained, or in the same way when either."""
    rates = coverage(*drawn(0.5, 0.5, own))
    assert rates == pytest.approx(dict.fromkeys(rates, 0.955), abs=0.025), rates


@pytest.mark.parametrize(
    ("halved", "seed_sd", "draw_sd"), [("explanation", 0.5, 0.5), ("model", 1, 0.1), ("data", 0.2, 0.1)]
)
def test_half_a_component_is_not_enough(halved, seed_sd, draw_sd):
    sets = drawn(seed_sd, draw_sd)
    assert coverage(*sets)[halved] > 0.93
    assert coverage(*sets, halved=halved)[halved] < 0.8


def test_correction_for_shared_rows_is_needed():
    values, truths, _ = drawn(0.2, 0.1)
    assert coverage(values, truths, 0)["data"] < 0.5


@pytest.mark.parametrize("seed_sd", [2, 5])
def test_seeds_that_drown_the_data_make_no_short_intervals(seed_sd):
    assert coverage(*drawn(seed_sd, 0.1))["data"] > 0.93


def test_components_are_separated():
    values, _, overlap = drawn(2, 3, (7, 7, 0), J=20, S=4, R=3)
    found = components(values, overlap)
    assert found.explanation.mean() * 20 * 2 * 4 * 3 == pytest.approx(9, rel=0.05)
    assert found.model.mean() * 20 * 2 * 4 == pytest.approx(4, rel=0.05)
    # the variance of a mean over 90 rows; that of the resamples is in the seeds' place of 1 / J
    assert found.data.mean() == pytest.approx(98 / 90, rel=0.1)


def test_closed_form_of_two_resamples():
    """A difference of 4 between resamples, of 2 between seeds, of 0 between repeats."""
    values = np.zeros((2, 2, 2, 2, 1))
    values[1] += 4
    values[:, :, 1] += 2
    found = components(values, 1.0)
    assert found.explanation == 0
    assert found.model == pytest.approx(2 / 8)  # s_m² = 2 over 8 fits
    assert found.data == pytest.approx((8 - 2 / 4) * 1.5)  # s_d² = 8 - s_m² / 4, times 1 / 2 + 1


# --- from an estimator


def test_intervals_over_data_of_refits():
    """Slopes of independent columns, whose expectation is known."""
    rng, hits = np.random.default_rng(0), []
    w = np.full(20, 0.1)
    for seed in range(12):
        X = rng.normal(size=(240, 20))
        y = X @ w + rng.normal(size=240)
        result = refit_importances(LinearRegression(), X, y, attribution=Slope(), n_resamples=6, random_state=seed)
        low, high = result.interval()
        hits.append((low <= 0.1) & (high >= 0.1))
    assert 0.92 < np.mean(hits) < 0.99


class Slope:
    """A strategy of the caller's: the effect of one unit."""

    local = False
    needs_y = False
    needs_gradient = False

    def importances(self, network, X, y, groups, rng):
        d = X.shape[1]
        outputs = network.predict(np.eye(d + 1, d, k=-1))[:, 0]
        return outputs[1:] - outputs[0], np.full(d, np.nan)


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(90, 4)), columns=list("abcd"))
    X["d"] = 1.0
    return X, (2 * X.a - X.b + rng.normal(size=90)).to_numpy()


@pytest.fixture(scope="module")
def forest(noisy):
    return refit_importances(RandomForestRegressor(3), *noisy, n_resamples=4, random_state=0)


@pytest.fixture(scope="module")
def network(noisy):
    net = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", alpha=1, max_iter=2000))
    return refit_importances(net, *noisy, n_resamples=3, random_state=0)


def test_own_importances(forest):
    assert forest.strategy == "feature_importances_"
    assert forest.names == tuple("abcd")
    assert forest.values.sum() == pytest.approx(1)
    assert forest.fits.shape == (4, 2, 2, 4)
    assert forest.train_size == 30
    np.testing.assert_array_equal(forest.explanation_error, 0)
    np.testing.assert_array_equal(forest.interval(over="explanation"), [forest.values] * 2)
    assert "explanations of each fit: 1, all alike" in repr(forest)


def test_constant_column(forest):
    assert forest.values[3] == forest.error[3] == 0
    np.testing.assert_array_equal(np.array(forest.interval())[:, 3], 0)


def test_network_in_a_pipeline(network):
    assert network.names == tuple("abcd")
    assert network.fits.shape == (3, 2, 2, 4)
    assert network.ranking[0] == 0
    assert (network.model_error[:3] > 0).all()
    whole = network.explanation_error**2 + network.model_error**2 + network.data_error**2
    np.testing.assert_allclose(network.error**2, whole)
    widths = [np.diff(network.interval(over=over), axis=0)[0, :3] for over in ("explanation", "data")]
    assert (widths[0] <= widths[1]).all()


def test_seeds_and_jobs(noisy, forest):
    again = refit_importances(RandomForestRegressor(3), *noisy, n_resamples=4, random_state=0, n_jobs=2)
    np.testing.assert_array_equal(again.fits, forest.fits)
    more = refit_importances(RandomForestRegressor(3), *noisy, n_resamples=4, n_seeds=3, random_state=0)
    np.testing.assert_array_equal(more.fits[:, :, :2], forest.fits)
    other = refit_importances(RandomForestRegressor(3), *noisy, n_resamples=4, random_state=1)
    assert not np.array_equal(other.fits, forest.fits)


def test_estimator_without_a_seed(noisy):
    X, y = noisy
    result = refit_importances(LinearRegression(), X, y, attribution="permutation", n_resamples=3, random_state=0)
    assert np.isnan(result.model_error).all()
    assert (result.error[:3] > 0).all()
    assert (result.explanation_error[:3] > 0).all()
    np.testing.assert_allclose(result.signed, result.fits.mean(axis=(0, 1, 2)))
    with pytest.raises(ValueError, match="over='model', but the estimator has no random_state"):
        result.interval(over="model")
    with pytest.raises(ValueError, match="n_seeds=2, but a LinearRegression has no random_state"):
        refit_importances(LinearRegression(), X, y, attribution="permutation", n_seeds=2)
    with pytest.raises(UnsupportedModelError, match="no importances of its own; pass attribution='permutation'"):
        refit_importances(LinearRegression(), X, y)


def test_classes_and_groups(blobs):
    X, y = blobs
    groups = {"signal": [0, 1]}
    model = RandomForestClassifier(3)
    result = refit_importances(
        model, X, y, attribution=Permutation(n_repeats=1), groups=groups, n_resamples=2, random_state=0
    )
    assert result.names == ("signal", "x2", "x3")
    assert result.groups == {"signal": ("x0", "x1")}
    assert result.ranking[0] == 0


def test_file_and_table(forest, tmp_path):
    forest.save(tmp_path / "refits")
    read = RefitImportances.load(tmp_path / "refits")
    assert repr(read) == repr(forest)
    np.testing.assert_array_equal(read.interval(0.9), forest.interval(0.9))
    frame = forest.to_frame()
    assert list(frame)[3:] == ["signed", "error", "explanation_error", "model_error", "data_error", "low", "high"]
    assert frame.feature[0] == "a"
    low, _ = forest.interval()
    assert frame.low[0] == low[forest.ranking[0]]


def test_bars(forest, network):
    pytest.importorskip("matplotlib")
    ax = forest.plot.bar()
    assert ax.get_xlabel() == "share by feature_importances_"
    assert ax.get_title(loc="left") == "feature_importances_, 90 rows"
    assert network.plot.bar().get_title(loc="left") == "ExpectedGradients, 90 rows"


def test_bad_intervals(forest):
    for level in (0, 1, 95):
        with pytest.raises(ValueError, match=f"level={level} must lie between 0 and 1, such as 0.95"):
            forest.interval(level)
    with pytest.raises(ValueError, match="over='seeds'; choose 'explanation', 'model' or 'data'"):
        forest.interval(over="seeds")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_resamples": 1}, "n_resamples == 1, must be >= 2"),
        ({"n_seeds": 1}, "n_seeds == 1, must be >= 2"),
        ({"n_repeats": 1}, "n_repeats == 1, must be >= 2"),
        ({"train_size": 0.5}, "train_size == 0.5, must be < 0.5"),
        ({"train_size": 0.01}, "train_size=0.01 of 90 rows leaves 0 to train on"),
    ],
)
def test_bad_numbers(noisy, options, match):
    with pytest.raises(ValueError, match=match):
        refit_importances(RandomForestRegressor(3), *noisy, **options)


def test_bad_data(noisy):
    X, y = noisy
    forest = RandomForestClassifier(3)
    with pytest.raises(ValueError, match="y has only one class"):
        refit_importances(forest, X, np.zeros(90, int))
    with pytest.raises(ValueError, match=r"y has 2 row\(s\) of class 1, but train_size=0.333 needs at least 3"):
        refit_importances(forest, X, (np.arange(90) < 2).astype(int))
    with pytest.raises(ValueError, match="NaN"):
        refit_importances(LinearRegression(), X.assign(a=np.nan), y, attribution="permutation")
    with pytest.raises(ValueError, match="X is several inputs"):
        refit_importances(forest, {"a": X, "b": X}, y)
    with pytest.raises(ValueError, match="y=None, but clones are to be trained"):
        refit_importances(forest, X, None)
    with pytest.raises(UnsupportedModelError, match="trains anew in folds by itself"):
        refit_importances(forest, X, y, attribution="loco")
    net = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs", max_iter=2000).fit(X, y)
    with pytest.raises(UnsupportedModelError, match="cannot be trained anew"):
        refit_importances(skexplain.from_fitted(net, X, y), X, y)
