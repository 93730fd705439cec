"""The figures that selectors promise: against closed forms, simulations, and hidimstat."""

import hidimstat
import numpy as np
import pytest
from hidimstat.statistical_tools.multiple_testing import fdr_threshold
from scipy.stats import multivariate_normal
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV

from skexplain import importances
from skexplain.attributions import ConditionalPermutation, Permutation
from skexplain.datasets import make_correlated_blocks, make_friedman1
from skexplain.selection import FDRSelector, ProbeSelector, StabilitySelector, gaussian_knockoffs
from skexplain.selection._knockoffs import knockoff_threshold, most_entropy
from skexplain.selection._stability import _chosen, _factor, _halves

RNG = np.random.default_rng(0)


def blocks(seed, n=200):
    return make_correlated_blocks(n, 40, n_blocks=8, rho=0.5, n_important=16, random_state=seed)


@pytest.mark.parametrize("method", ["conditional", "knockoffs"])
def test_false_discovery_rate_is_held(method):
    """Its mean over draws is at most q, by two standard errors; and something is found."""
    wrong, found = [], []
    kind = ConditionalPermutation(cv=3, n_repeats=3) if method == "conditional" else method
    for seed in range(10 if method == "conditional" else 40):
        rows = blocks(seed)
        support = FDRSelector(RidgeCV(), q=0.2, method=kind, random_state=seed).fit(rows.data, rows.target).support_
        wrong.append((support & ~rows.important).sum() / max(1, support.sum()))
        found.append(support[rows.important].mean())
    assert np.mean(wrong) - 2 * np.std(wrong) / np.sqrt(len(wrong)) < 0.2
    assert np.mean(found) > 0.3


def test_without_any_signal_nothing_is_found_at_rate_q():
    """The false discovery rate is then the probability that anything is selected."""
    any_found, method = [], ConditionalPermutation(cv=3, n_repeats=3)
    for seed in range(25):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(100, 10)), rng.normal(size=100)
        any_found.append(FDRSelector(LinearRegression(), q=0.2, method=method, random_state=0).fit(X, y).support_.any())
    assert np.mean(any_found) < 0.2 + 2 * np.sqrt(0.2 * 0.8 / 25)


def test_benjamini_and_hochberg_as_hidimstat():
    rows = blocks(0)
    for q in (0.05, 0.2):
        selector = FDRSelector(RidgeCV(), q=q, random_state=0).fit(rows.data, rows.target)
        np.testing.assert_array_equal(selector.support_, selector.pvalues_ <= fdr_threshold(selector.pvalues_, q))


def test_knockoff_threshold_as_hidimstat():
    for seed in range(20):
        W = np.random.default_rng(seed).normal(0.7, 1, size=40) * (np.arange(40) % 5 > 0)
        for q in (0.1, 0.3):
            want = hidimstat.ModelXKnockoff.knockoff_threshold(W, q)
            got = knockoff_threshold(W, q)
            # theirs may start at 0, where nothing is selected by ours that has no importance
            np.testing.assert_array_equal((got <= W) & (W != 0), (want <= W) & (W != 0))
    assert knockoff_threshold(np.array([3.0, 2, 1, -0.5]), 0.4) == 1  # (1 + 0) / 3
    assert knockoff_threshold(np.array([3.0, 2, 1, -0.5]), 0.3) == np.inf


def test_conditional_importance_as_hidimstat():
    """Of one fitted model, on rows that it has not seen: their test, their sampler."""
    rows = make_correlated_blocks(1000, 8, n_blocks=2, n_important=4, random_state=0)
    X, y = rows.data, rows.target
    model = LinearRegression().fit(X[:500], y[:500])
    theirs = hidimstat.CFI(model, n_permutations=50, random_state=0)
    want = theirs.fit_importance(X[500:], y[500:])
    got = importances(model, X[500:], y[500:], attribution=Permutation(n_repeats=50, conditional=True), random_state=0)
    assert (np.abs(got.signed - want) < 0.05 * np.abs(want) + 2 * got.error).all()
    assert np.corrcoef(got.signed, want)[0, 1] > 0.99


def test_knockoffs_have_the_moments_of_the_columns():
    """Columns and knockoffs: covariance Sigma of both, and Sigma less a diagonal between them."""
    X = make_correlated_blocks(4000, 10, n_blocks=2, random_state=0, n_important=2).data * np.arange(1, 11) + 3
    knockoffs = gaussian_knockoffs(X, random_state=0)
    p = X.shape[1]
    both = np.corrcoef(X.T, knockoffs.T)
    np.testing.assert_allclose(both[p:, p:], both[:p, :p], atol=0.05)
    between = both[:p, p:] - both[:p, :p]
    np.testing.assert_allclose(between, np.diag(np.diag(between)), atol=0.05)
    assert (np.diag(between) < -0.1).all()
    np.testing.assert_allclose(knockoffs.mean(axis=0), X.mean(axis=0), atol=1)
    np.testing.assert_array_equal(knockoffs, gaussian_knockoffs(X, random_state=0))


def test_knockoffs_have_the_most_entropy():
    """No other diagonal, near or far, has more; two independent columns have 1."""
    np.testing.assert_allclose(most_entropy(np.eye(3)), 1)
    sigma = np.corrcoef(RNG.normal(size=(50, 6)) @ RNG.normal(size=(6, 6)), rowvar=False)
    s = most_entropy(sigma)

    def entropy(s):
        return np.linalg.slogdet(2 * sigma - np.diag(s))[1] + np.log(s).sum()

    assert np.linalg.eigvalsh(2 * sigma - np.diag(s))[0] > 0
    for _ in range(20):
        other = s * np.exp(0.1 * RNG.normal(size=6))
        if np.linalg.eigvalsh(2 * sigma - np.diag(other))[0] > 0:
            assert entropy(other) < entropy(s)


def test_knockoffs_of_columns_that_determine_each_other_are_refused():
    X = RNG.normal(size=(100, 5))
    X[:, 3] = X[:, 0] - 2 * X[:, 2]
    with pytest.raises(ValueError, match=r"Columns \[0, 2, 3\] determine each other"):
        FDRSelector(Ridge(), method="knockoffs").fit(X, X[:, 0])
    wide = RNG.normal(size=(30, 50))
    gaussian_knockoffs(wide)
    wide[:, 8] = -3 * wide[:, 4]
    with pytest.raises(ValueError, match=r"Columns \[4, 8\]"):
        gaussian_knockoffs(wide)
    constant = np.c_[X[:, :2], np.ones(100)]
    np.testing.assert_array_equal(gaussian_knockoffs(constant)[:, 2], 1)
    # by p-values none of them counts, as the others say the same
    y = X[:, 0] + X[:, 1] + RNG.normal(size=100)
    assert FDRSelector(LinearRegression(), random_state=0).fit(X, y).get_support(indices=True).tolist() == [1]


@pytest.mark.parametrize(
    ("t", "n_pairs", "bound", "want"),
    [
        (0.75, 50, "worst_case", 2),  # Meinshausen and Buehlmann: 1 / (2 t - 1)
        (0.9, 50, "worst_case", 1.25),
        (0.75, 50, "unimodal", 1 / (2 * 0.49)),  # Shah and Samworth, theorem 2
        (0.9, 50, "unimodal", 4 * 0.11 / 1.02),
        (0.6, 50, "unimodal", 1 / (2 * 0.19)),
    ],
)
def test_stability_bounds(t, n_pairs, bound, want):
    assert _factor(t, n_pairs, bound) == pytest.approx(want)


def test_fewer_columns_in_error_than_the_bound():
    """50 columns, of which 3 matter: of the others as many are selected as the bound says, or fewer."""
    wrong, found = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(100, 50))
        y = X[:, 0] + X[:, 1] - X[:, 2] + rng.normal(size=100)
        selector = StabilitySelector(Ridge(), threshold=0.6, n_pairs=10, random_state=seed).fit(X, y)
        wrong.append(selector.support_[3:].sum())
        found.append(selector.support_[:3].mean())
    assert np.mean(wrong) <= selector.error_bound_ <= 1
    assert np.mean(found) > 0.8


def test_halves_share_no_row_and_have_all_classes():
    y = np.repeat(["a", "b", "c"], [4, 30, 67])
    first, second = _halves(y, True, RNG)
    assert len(first) == 50
    assert not set(first) & set(second)
    for half in (first, second):
        np.testing.assert_allclose(np.unique(y[half], return_counts=True)[1], [2, 15, 33], atol=1)
    first, second = _halves(np.arange(7.0), False, RNG)
    assert len(first) == len(second) == 3
    assert not set(first) & set(second)
    with pytest.raises(ValueError, match=r"none of the class\(es\) \['a'\]"):
        _chosen(LogisticRegression(), RNG.normal(size=(101, 2)), y, np.arange(4, 50), 0, "auto", 1)


def test_probes_are_beaten_by_what_matters():
    """Of 30 columns without a part in y less than one is expected to be kept."""
    kept, found = [], []
    for seed in range(6):
        rows = make_friedman1(300, 35, random_state=seed)
        selector = ProbeSelector(LinearRegression(), random_state=seed).fit(rows.data, rows.target)
        kept.append(selector.get_support()[5:].sum())
        found.append(selector.get_support()[[0, 1, 3, 4]].all())  # x_2 has no linear part
    assert np.mean(kept) < 1
    assert all(found)
    assert selector.threshold_ == pytest.approx(selector.probe_importances_.max(axis=1).mean())
    half = ProbeSelector(LinearRegression(), quantile=0.5, max_features=2, random_state=0).fit(rows.data, rows.target)
    assert half.get_support().sum() == 2
    assert half.threshold_ < selector.threshold_


def test_other_thresholds_are_those_of_scikit_learn():
    rows, kinds = blocks(0), (ProbeSelector, SelectFromModel)
    ours, theirs = (kind(Ridge(), threshold="median").fit(rows.data, rows.target) for kind in kinds)
    np.testing.assert_array_equal(ours.get_support(), theirs.get_support())
    assert ours.threshold_ == theirs.threshold_
    assert not hasattr(ProbeSelector(Ridge()), "partial_fit")


def test_normal_density_is_that_of_columns_and_knockoffs_exchanged():
    """The second moments determine a normal distribution: exchanging a pair leaves the density as it is."""
    sigma = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
    S = np.diag(most_entropy(sigma))
    joint = multivariate_normal(cov=np.block([[sigma, sigma - S], [sigma - S, sigma]]))
    x = RNG.normal(size=(5, 6))
    np.testing.assert_allclose(joint.pdf(x), joint.pdf(x[:, [3, 1, 2, 0, 4, 5]]))
