"""Leave one covariate out: closed forms, laws, and every kind of estimator."""

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skexplain import Importances, explain, from_fitted, importances
from skexplain.attributions import LOCO
from skexplain.exceptions import InterruptedWarning, UnsupportedModelError

RNG = np.random.default_rng(0)
N = 120
X = RNG.normal(size=(N, 4))
W = np.array([2.0, -1.0, 0.0, 0.5])
Y = X @ W + 0.1 * RNG.normal(size=N)


def loco(model, X=X, y=Y, seed=0, **kwargs):
    strategy = kwargs.pop("strategy", LOCO(cv=kwargs.pop("cv", 5), scoring=kwargs.pop("scoring", None)))
    return importances(model, X, y, attribution=strategy, random_state=seed, **kwargs)


def test_by_hand():
    """One split: the losses of two least-squares fits."""
    train, test = np.arange(80), np.arange(80, N)
    got = loco(LinearRegression(), cv=[(train, test)])

    def losses(columns):
        A = np.c_[X[:, columns], np.ones(N)]
        return (A[test] @ np.linalg.lstsq(A[train], Y[train])[0] - Y[test]) ** 2

    d = losses([0, 2, 3]) - losses([0, 1, 2, 3])
    assert got.signed[1] == pytest.approx(d.mean())
    # one split: 1 / J + n_2 / n_1 = 1 + 40 / 80
    assert got.error[1] == pytest.approx(np.sqrt(1.5 * d.var(ddof=1) / 40))


def test_intervals_cover_the_expected_rise():
    """Least squares on n normal rows has an expected loss of sigma^2 (n + 1)(n - 2) / (n (n - p - 2))."""
    rng, n, w = np.random.default_rng(1), 50, np.array([1.0, 0.3, 0.0])
    n_1 = 40

    def loss(variance, p):
        return variance * (n_1 + 1) * (n_1 - 2) / (n_1 * (n_1 - p - 2))

    truth = loss(1 + w**2, 2) - loss(1, 3)
    covered = np.zeros(3)
    for trial in range(100):
        Z = rng.normal(size=(n, 3))
        low, high = loco(LinearRegression(), Z, Z @ w + rng.normal(size=n), seed=trial).interval()
        covered += (low <= truth) & (truth <= high)
    assert (covered >= 92).all()


def test_large_sample():
    Z = np.random.default_rng(0).normal(size=(4000, 4))
    got = loco(LinearRegression(), Z, Z @ W, cv=2)
    np.testing.assert_allclose(got.values, W**2, rtol=0.1, atol=1e-9)
    assert got.names == ("x0", "x1", "x2", "x3")
    assert got.n_rows == 4000


def test_a_column_without_use_lies_around_zero():
    low, high = loco(LinearRegression()).interval()
    assert low[2] < 0 < high[2]
    assert (low[[0, 1, 3]] > 0).all()
    tree = loco(DecisionTreeRegressor(max_depth=3), np.c_[X, np.ones(N)], cv=2)
    assert tree.signed[4] == pytest.approx(0, abs=1e-12)  # a constant is never split on


def test_copies_can_do_without_each_other_but_not_without_both():
    Z = np.c_[X, X[:, 0]]
    got = loco(LinearRegression(), Z)
    np.testing.assert_allclose(got.signed[[0, 4]], 0, atol=1e-9)
    grouped = loco(LinearRegression(), Z, groups={"copies": [0, 4]})
    assert grouped.names[0] == "copies"
    assert grouped.values[0] > 2


def test_groups_of_single_columns_are_the_columns():
    names = {f"g{j}": [j] for j in range(4)}
    np.testing.assert_array_equal(loco(LinearRegression(), groups=names).signed, loco(LinearRegression()).signed)


@pytest.mark.parametrize("scoring", [None, "r2"])
def test_all_columns_leave_the_mean(scoring):
    got = loco(LinearRegression(), groups={"all": [0, 1, 2, 3]}, cv=3, scoring=scoring)
    assert got.values == pytest.approx(Y.var() if scoring is None else 1, rel=0.1)
    iris, y = load_iris(return_X_y=True)
    got = loco(DecisionTreeClassifier(max_depth=2), iris, y, groups={"all": [0, 1, 2, 3]}, cv=3, scoring="accuracy")
    assert got.values == pytest.approx(0.93 - 1 / 3, abs=0.1)


def test_seeded():
    forest = RandomForestClassifier(5, max_depth=3)
    iris, y = load_iris(return_X_y=True)
    first = loco(forest, iris, y, cv=2)
    np.testing.assert_array_equal(loco(forest, iris, y, cv=2).signed, first.signed)
    assert not np.array_equal(loco(forest, iris, y, seed=1, cv=2).signed, first.signed)


def test_the_seed_of_both_clones_is_the_same():
    class Lucky(RegressorMixin, BaseEstimator):
        """Predicts a random number, and looks at no column."""

        def __init__(self, random_state=None):
            self.random_state = random_state

        def fit(self, X, y):
            self.number_ = np.random.default_rng(self.random_state).normal()
            return self

        def predict(self, X):
            return np.full(len(X), self.number_)

    np.testing.assert_array_equal(loco(make_pipeline(StandardScaler(), Lucky())).signed, 0)


def test_untouched():
    rows, y = X.copy(), Y.copy()
    rows.flags.writeable = y.flags.writeable = False
    model = DecisionTreeRegressor(max_depth=2).fit(rows, y)
    before, state, params = model.predict(X), np.random.get_state()[1].copy(), model.get_params()
    strategy = LOCO(cv=2)
    loco(model, rows, y, strategy=strategy)
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.get_params() == params
    assert (np.random.get_state()[1] == state).all()
    assert vars(strategy) == vars(LOCO(cv=2))
    assert clone(strategy).get_params() == strategy.get_params()


def test_n_jobs_does_not_change_the_result():
    with parallel_config(backend="threading"):  # quick to start
        two = loco(LinearRegression(), strategy=LOCO(cv=2, n_jobs=2))
    np.testing.assert_array_equal(two.signed, loco(LinearRegression(), cv=2).signed)


# estimators and tables of every kind


def frame():
    rng = np.random.default_rng(0)
    number, noise = rng.normal(size=(2, 150))
    city = pd.Categorical(rng.choice(["a", "b", "c"], 150))
    y = np.where(2 * number + 2 * (city == "a") > 0.5, "yes", "no")
    return pd.DataFrame({"number": number, "city": city, "noise": noise}), y


@pytest.mark.parametrize("selected", ["names", "selector"])
def test_pipeline_on_columns_of_several_types(selected):
    data, y = frame()
    numbers, text = (
        (["number", "noise"], ["city"])
        if selected == "names"
        else (
            make_column_selector(dtype_include=float),
            make_column_selector(dtype_include="category"),
        )
    )
    columns = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(), text))
    pipe = make_pipeline(columns, LogisticRegression())
    got = loco(pipe, data, y)
    assert got.names == ("number", "city", "noise")
    low, _ = got.interval()
    assert (low[:2] > 0).all()
    assert got.values[2] < 0.1 * got.values[1]
    assert columns.transformers[0][2] is numbers
    assert len(text) == 1 if selected == "names" else callable(text)


def test_dtypes_are_kept():
    data, y = frame()
    boosted = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype", random_state=0)
    assert loco(boosted, data, y, cv=2).ranking.tolist()[2] == 2


def test_search_and_unfitted():
    search = GridSearchCV(DecisionTreeRegressor(random_state=0), {"max_depth": [2]}, cv=2).fit(X, Y)
    expected = loco(DecisionTreeRegressor(max_depth=2, random_state=0)).signed
    np.testing.assert_array_equal(loco(search).signed, expected)


def test_rare_class_of_a_fold():
    iris, y = load_iris(return_X_y=True)
    y = np.where(np.arange(150) == 149, 3, y)
    got = loco(DecisionTreeClassifier(max_depth=2), iris, y, cv=[(np.arange(100), np.arange(100, 150))])
    assert np.isfinite(got.signed).all()


def test_several_targets():
    Y2 = np.c_[Y, X[:, 2]]
    got = loco(LinearRegression(), y=Y2)
    assert (got.interval()[0] > 0).all()


def test_scorers():
    got = loco(LinearRegression(), scoring="neg_mean_absolute_error")
    assert (got.values[:2] > 0.5).all()
    assert np.isfinite(got.error).all()
    one = loco(LinearRegression(), scoring="r2", cv=ShuffleSplit(1, random_state=0))
    assert np.isnan(one.error).all()
    assert np.isnan(one.interval()).all()


@pytest.fixture
def net():
    pytest.importorskip("torch")
    from skexplain.torch import NeuralNetRegressor

    return NeuralNetRegressor(module__hidden=(4,), max_epochs=15, lr=0.03, random_state=0)


def test_networks(net):
    got = loco(net, cv=2)
    assert got.ranking[:2].tolist() == [0, 1]
    data = pd.DataFrame(X, columns=list("abcd"))
    assert loco(net, data, cv=2, groups={"ab": ["a", "b"]}).names == ("ab", "c", "d")


@pytest.mark.parametrize("keep_rows", [True, False])
def test_an_estimators_own_importances(net, keep_rows):
    net.set_params(attribution=LOCO(cv=2), keep_rows=keep_rows).fit(pd.DataFrame(X, columns=list("abcd")), Y)
    assert net.importances_.names == ("a", "b", "c", "d")
    values = net.feature_importances_
    assert values.sum() == pytest.approx(1)
    assert (values >= 0).all()
    assert values.argmax() == 0
    assert net.keep_rows is keep_rows
    assert net.importances(X, Y).strategy.cv == 2
    assert SelectFromModel(net, prefit=True, max_features=1, threshold=-np.inf).get_support().argmax() == 0


# refusals and interruptions


def test_interrupted():
    class Slow(LinearRegression):
        fits = 0

        def fit(self, X, y):
            Slow.fits += 1
            if Slow.fits > Slow.most:
                raise KeyboardInterrupt
            return super().fit(X, y)

    Slow.most = 12  # of 25: two folds of five, and a part of the third
    with pytest.warns(InterruptedWarning, match="2 of 5 folds"):
        partial = loco(Slow())
    assert np.isfinite(partial.error).all()
    np.testing.assert_allclose(partial.values, loco(LinearRegression()).values, rtol=0.5, atol=0.1)
    Slow.fits, Slow.most = 0, 4
    with pytest.raises(KeyboardInterrupt):
        loco(Slow())


def test_what_cannot_be_trained():
    fitted = from_fitted(MLPRegressor(tol=1e9, random_state=0).fit(X, Y), X, Y)
    for model in (fitted, FrozenEstimator(LinearRegression()), make_pipeline(StandardScaler(), fitted)):
        with pytest.raises(UnsupportedModelError, match=r"cannot be trained anew.*NeuralNetClassifier"):
            loco(model)
    torch = pytest.importorskip("torch")
    with pytest.raises(UnsupportedModelError, match="A Linear cannot be trained anew"):
        loco(torch.nn.Linear(4, 1))


def test_a_module_of_fixed_width():
    torch = pytest.importorskip("torch")
    from skexplain.torch import NeuralNetRegressor

    with pytest.raises(ValueError, match=r"cannot be trained without column\(s\) \[0\].*width from the data"):
        loco(NeuralNetRegressor(torch.nn.Linear(4, 1), max_epochs=1, random_state=0), cv=2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (make_pipeline(make_column_transformer((StandardScaler(), [0, 1])), LinearRegression()), "by their position"),
        (make_pipeline(make_column_transformer((StandardScaler(), slice(0, 2))), LinearRegression()), "position"),
        (HistGradientBoostingClassifier(categorical_features=[0]), "categorical_features chooses columns by"),
        (RidgeClassifier(), "no probabilities has no log-loss.*scoring"),
    ],
)
def test_refused_with_a_remedy(model, message):
    with pytest.raises(ValueError, match=message):
        loco(model, y=(Y > 0).astype(int))


def test_bad_input():
    with pytest.raises(ValueError, match="pass y"):
        importances(LinearRegression(), X, attribution="loco")
    with pytest.raises(ValueError, match=r"shape \(120, 2, 2\)"):
        loco(LinearRegression(), X.reshape(N, 2, 2))
    with pytest.raises(ValueError, match="cv == 1, must be >= 2"):
        loco(LinearRegression(), cv=1)
    with pytest.raises(ValueError, match="explains no single rows"):
        explain(LinearRegression().fit(X, Y), X, attribution="loco")
    with pytest.raises(ValueError, match="several labels a row has no log-loss"):
        loco(MultiOutputClassifier(DecisionTreeClassifier()), y=np.c_[Y > 0, X[:, 1] > 0])
    with pytest.raises(ValueError, match="y has 3 values"):
        loco(LinearRegression(), y=Y[:3])


def test_interval():
    local = Importances(
        ("a",), np.array([2.0]), np.array([-1.0]), np.array([0.5]), "integrated_gradients", "margin", "all", 9, 0
    )
    low, high = local.interval(0.95)
    assert (high - low)[0] == pytest.approx(2 * 1.959964 * 0.5)
    for level in (0, 1, 95):
        with pytest.raises(ValueError, match=f"level={level} must lie between 0 and 1"):
            local.interval(level)
    own = loco(LinearRegression())
    np.testing.assert_allclose(np.mean(own.interval(0.5), axis=0), own.signed, atol=1e-12)
    of_rows = importances(MLPRegressor(tol=1e9, random_state=0).fit(X, Y), X, attribution="saliency")
    np.testing.assert_allclose(np.mean(of_rows.interval(), axis=0), of_rows.values)
