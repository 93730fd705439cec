"""What holds for all selectors: scikit-learn's contract, pipelines, frames, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skexplain import from_fitted
from skexplain.attributions import LOCO, ConditionalPermutation
from skexplain.exceptions import UnsupportedModelError
from skexplain.selection import FDRSelector, ProbeSelector, StabilitySelector, conditional_test
from skexplain.torch import NeuralNetClassifier

RNG = np.random.default_rng(0)
N, P = 200, 12
X = RNG.normal(size=(N, P))
Y = 2 * X[:, 0] - X[:, 1] + X[:, 2] + 0.5 * RNG.normal(size=N)
LABELS = np.where(Y > 0, "yes", "no")
FEW_ROWS = {"n_pairs": 2, "n_chosen": 1, "bound": "worst_case"}


def selectors(estimator):
    return [
        FDRSelector(estimator, method=ConditionalPermutation(cv=2, n_repeats=3), random_state=0),
        FDRSelector(estimator, method="knockoffs", q=0.4, random_state=0),
        StabilitySelector(estimator, n_pairs=5, random_state=0),
        ProbeSelector(estimator, n_rounds=2, random_state=0),
    ]


def twenty_rows(estimator):
    """Checks of scikit-learn that fit fewer rows than columns can be predicted from."""
    why = "predicting columns from each other takes 20 rows, and the check has fewer"
    conditional = isinstance(estimator, FDRSelector) and estimator.method != "knockoffs"
    checks = ["check_n_features_in_after_fitting", "check_estimators_nan_inf", "check_fit2d_1feature"]
    return dict.fromkeys(checks, why) if conditional else {}


@parametrize_with_checks(
    [
        FDRSelector(Ridge(), method=ConditionalPermutation(cv=2, n_repeats=2)),
        FDRSelector(LogisticRegression(), method="knockoffs"),
        StabilitySelector(Ridge(), **FEW_ROWS),
        StabilitySelector(LogisticRegression(), **FEW_ROWS),
        ProbeSelector(Ridge(), n_rounds=1),
    ],
    expected_failed_checks=twenty_rows,
)
@pytest.mark.filterwarnings("ignore:No features were selected")  # of pure noise, as it should be
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("k", range(4))
def test_what_matters_is_found_and_repeated(k):
    for model, y in ((LinearRegression(), Y), (LogisticRegression(), LABELS)):
        selector = clone(selectors(model)[k]).fit(X, y)
        assert selector.get_support()[:3].all()
        assert selector.get_support().sum() <= 6
        np.testing.assert_array_equal(selector.get_support(), clone(selector).fit(X, y).get_support())
        assert selector.transform(X).shape == (N, selector.get_support().sum())


@pytest.mark.parametrize("k", range(4))
def test_in_pipelines_and_searches_with_frames(k):
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(P)], index=np.arange(N) + 5)
    selector = selectors(LogisticRegression())[k].set_output(transform="pandas")
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), selector, LogisticRegression())
    name = type(selector).__name__.lower()
    parameter = {"fdrselector": "q", "stabilityselector": "threshold", "probeselector": "quantile"}[name]
    values = [0.6, 0.9] if parameter == "threshold" else [0.45, 0.5]
    search = GridSearchCV(pipeline, {f"{name}__{parameter}": values}, cv=2).fit(frame, LABELS)
    best = search.best_estimator_
    assert {"c0", "c1", "c2"} <= set(best[1].get_feature_names_out())
    assert list(best[:-1].transform(frame).columns) == list(best[1].get_feature_names_out())
    assert search.score(frame, LABELS) > 0.8


def test_networks_are_estimators_like_others():
    net = NeuralNetClassifier(max_epochs=4, random_state=0)
    for selector in selectors(net):
        if isinstance(selector, StabilitySelector):
            selector.set_params(n_pairs=1, n_chosen=1, bound="worst_case")
        selector.fit(X[:, :6], LABELS)
        # what each measured is highest where it should be, however few epochs leave beyond a threshold
        values = [getattr(selector, name, None) for name in ("statistics_", "frequencies_", "importances_")]
        measured = next(v for v in values if v is not None)
        assert np.argmax(getattr(measured, "signed", measured)) == 0, selector
    assert not hasattr(net, "module_")


@pytest.mark.parametrize("k", range(4))
def test_what_cannot_be_trained(k):
    fitted = from_fitted(MLPRegressor(tol=1e9, random_state=0).fit(X, Y), X, Y)
    with pytest.raises(UnsupportedModelError, match="cannot be trained anew"):
        selectors(fitted)[k].fit(X, Y)
    with pytest.raises(ValueError, match="only one class"):
        FDRSelector(LogisticRegression(), method=["conditional", "knockoffs"][k % 2]).fit(X, np.zeros(N))


def test_estimators_without_importances_are_tested_by_their_predictions_only():
    near = KNeighborsRegressor()
    assert selectors(near)[0].fit(X[:, :4], Y).get_support()[0]
    for selector in selectors(near)[1:]:
        with pytest.raises(
            UnsupportedModelError, match="KNeighborsRegressor has neither feature_importances_ nor coef_"
        ):
            selector.fit(X, Y)
    pipeline = make_pipeline(StandardScaler(), LinearRegression())
    for getter in ("named_steps.linearregression.coef_", lambda model: model[-1].coef_):
        for selector in selectors(pipeline)[1:]:
            assert selector.set_params(importance_getter=getter).fit(X, Y).get_support()[:3].all()
    with pytest.raises(ValueError, match=r"shape \(2,\) for 24 columns"):
        selectors(near)[1].set_params(importance_getter=lambda model: np.ones(2)).fit(X, Y)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (FDRSelector(Ridge(), q=0), "q == 0, must be > 0"),
        (FDRSelector(Ridge(), q=1), "q == 1, must be < 1"),
        (FDRSelector(Ridge(), method="bh"), "method='bh'; pass 'conditional', 'knockoffs' or"),
        (FDRSelector(Ridge(), method=LOCO()), "method=LOCO"),
        (StabilitySelector(Ridge(), threshold=0.5), "threshold == 0.5"),
        (StabilitySelector(Ridge(), max_false=1e-4), "max_false=0.0001 allows less than one of 12 columns"),
        (StabilitySelector(Ridge(), n_chosen=13), "n_chosen == 13"),
        (StabilitySelector(Ridge(), n_chosen=10), "'unimodal' does not hold for 10 of 12"),
        (StabilitySelector(Ridge(), n_pairs=0), "n_pairs"),
        (StabilitySelector(Ridge(), bound="r-concave"), "bound='r-concave'"),
        (ProbeSelector(Ridge(), prefit=True), "prefit=True with threshold='probe'"),
        (ProbeSelector(Ridge(), n_rounds=0), "n_rounds"),
        (ProbeSelector(Ridge(), quantile=2), "quantile"),
    ],
)
def test_bad_parameters(selector, message):
    with pytest.raises(ValueError, match=message):
        selector.fit(X, Y)


@pytest.mark.parametrize("k", range(4))
def test_gaps_in_the_data(k):
    gaps = X.copy()
    gaps[3, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        selectors(Ridge())[k].fit(gaps, Y)
    with pytest.raises(ValueError, match="NaN"):
        selectors(Ridge())[k].fit(X, np.where(np.arange(N) == 3, np.nan, Y))


@pytest.mark.parametrize("k", range(4))
def test_constant_columns_and_more_columns_than_rows(k):
    wide = RNG.normal(size=(60, 80))
    wide[:, 7] = 3
    y = 3 * wide[:, 0] + 2 * wide[:, 1] + 0.1 * RNG.normal(size=60)
    selector = selectors(RandomForestClassifier(10, random_state=0))[k].fit(wide, y > 0)
    assert not selector.get_support()[7]
    assert selector.get_support().sum() < 20


def test_the_test_takes_groups_and_only_its_own_strategy():
    pair = np.c_[X[:, :3], X[:, 0]]
    alone = conditional_test(LinearRegression(), pair, Y, random_state=0)
    assert alone.pvalues[0] > 0.01  # its copy says the same
    grouped = conditional_test(LinearRegression(), pair, Y, groups={"pair": [0, 3]}, random_state=0)
    assert grouped.names[0] == "pair"
    assert grouped.pvalues[0] < 1e-6
    assert grouped.to_frame().pvalue.is_monotonic_increasing
    assert repr(grouped).startswith("x1")
    assert (grouped.adjusted >= grouped.pvalues).all()
    with pytest.raises(TypeError, match=r"attribution=LOCO\(\) does not make a test"):
        conditional_test(LinearRegression(), X, Y, attribution=LOCO())
