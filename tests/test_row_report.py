"""explain_row: stability, neighbours, and when not to trust an explanation."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain import RowReport, explain_row
from skexplain._neighbours import Training, neighbours
from skexplain.attributions import Attributed

RNG = np.random.default_rng(0)
X = np.random.default_rng(1).normal(size=(80, 3))
W = np.array([3.0, -2, 0.0])
LINEAR = LinearRegression().fit(X, X @ W)


def of(x, **kwargs):
    kwargs = {"attribution": "exact_shapley", "background": X, "random_state": 0} | kwargs
    return explain_row(LINEAR, np.array([x]), **kwargs)


def near(rows, row, **parts):
    return neighbours(Training(rows, row, **parts), 3, np.random.default_rng(0))


def test_a_linear_model_in_closed_form():
    report = of([2.0, 2, 2], n_resamples=300)
    np.testing.assert_allclose(report.values, W * (2 - X.mean(axis=0)), atol=1e-9)
    assert report.resampled.shape == (300, 3)
    # a bootstrap mean varies by the standard error of the mean
    np.testing.assert_allclose(report.spread, np.abs(W) * X.std(axis=0) / np.sqrt(80), rtol=0.15, atol=1e-9)
    np.testing.assert_array_equal(report.same_sign[:2], 1)
    assert report.same_first == 1
    assert report.kendall > 0.8
    assert report.background_rows == 80


def test_doubts_about_the_sign_and_the_first_column():
    middle = X.mean(axis=0) + np.array([0.01, 0.016, 0])
    report = of(middle)
    assert 0 < report.same_first < 1
    first, sign = report.cautions
    assert "of 20 resampled backgrounds another column than " in first
    assert sign.startswith("The sign of ")
    assert "'x0'" in sign
    assert "'x1'" in sign
    assert of([2.0, 2, 2]).cautions == ()
    assert "Nothing was found that speaks against" in of([2.0, 2, 2]).to_text()


def test_repeats_with_the_seed_and_leaves_numpy_alone():
    before = np.random.get_state()[1].copy()
    a, b, c = (of([1.0, 0, 0], random_state=seed).resampled for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


class Vague(BaseEstimator):
    """A strategy that is not sure of the first column."""

    needs_gradient = False

    def attribute(self, network, X, background, target, rng):
        return Attributed(np.array([[1.0, -2, 3]]), np.array([[1.5, 0.1, 0.1]]))


def test_doubts_about_errors():
    (only,) = of([0.0, 0, 0], attribution=Vague()).cautions
    assert only == "The standard error of 'x0' is as large as the value; let the strategy sample more."


def test_a_small_background_is_not_resampled():
    report = of([1.0, 1, 1], background=X[:9])
    assert report.resampled.shape == (0, 3)
    assert np.isnan([report.same_first, report.kendall]).all()
    assert np.isnan(report.spread).all()
    assert np.isnan(report.same_sign).all()
    assert report.cautions[0].startswith("The background has 9 rows, too few")
    assert "same sign" in repr(report)


def test_nearest_training_rows():
    rows = X * [1, 100, 0.01]
    found = near(rows, rows[[5]] + [[0.01, 0, 0]])
    assert found.index[0] == 5
    scaled = (rows - rows[5] - [0.01, 0, 0]) / rows.std(axis=0)
    np.testing.assert_allclose(found.distance, np.sort(np.sqrt((scaled**2).mean(axis=1)))[:3])
    assert not found.far
    assert near(rows, rows[[5]] + [[9.0, 0, 0]]).far
    assert found.n_rows == 80


def test_usual_is_between_the_training_rows():
    rows = np.arange(100.0)[:, None]
    found = near(rows, np.array([[3.2]]))
    assert found.usual == pytest.approx(1 / rows.std())
    assert not found.far
    assert near(rows, np.array([[102.0]])).far


def test_text_gaps_and_constants():
    rows = pd.DataFrame({"a": ["x", "y", "z"], "b": [1.0, np.nan, 3], "c": 7}, index=[10, 20, 30])
    found = near(rows, rows.iloc[[1]], y=np.array(["p", "q", "r"]))
    assert found.index.tolist()[0] == 20
    assert found.y[0] == "q"
    # another text, one missing value (that and its place), the same constant
    np.testing.assert_allclose(found.distance, np.sqrt([0, (1 + 1 + 1) / 3, (1 + 1 + 1) / 3]))
    assert near(rows, rows.iloc[[1]].assign(c=8)).distance[0] == pytest.approx(np.sqrt(1 / 3))
    codes = np.array([[0.0], [5], [9]])
    np.testing.assert_allclose(near(codes, codes[[1]], codes=np.array([0])).distance, [0, 1, 1])


def test_rows_in_the_shape_of_pictures():
    rows = RNG.normal(size=(9, 2, 2))
    assert near(rows, rows[[4]]).index[0] == 4


def test_estimators_know_their_rows():
    frame = pd.DataFrame(X, columns=list("abc"), index=np.arange(80) + 500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = MLPRegressor(hidden_layer_sizes=(4,), max_iter=50, random_state=0).fit(frame, X @ W)
    fitted = skexplain.from_fitted(net, frame, X @ W, random_state=0)
    report = fitted.explain_row(frame.iloc[[7]])
    assert report.neighbours.index[0] == 507
    assert report.neighbours.y[0] == pytest.approx(X[7] @ W)
    assert report.background_rows == 80
    unknown = explain_row(net, frame.iloc[[7]], background=frame, random_state=0)
    assert unknown.neighbours is None
    assert "Nearest" not in repr(unknown)
    given = explain_row(net, frame.iloc[[7]], background=frame, training=frame[::-1][["c", "a", "b"]], random_state=0)
    assert given.neighbours.index[0] == 507
    again = skexplain.from_fitted(net, X, X @ W, random_state=0).explain_row(X[[7]])
    assert again.neighbours.index[0] == 7


def test_a_pipeline_is_explained_in_the_columns_in_front_of_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(4,), max_iter=50, random_state=0))
        net.fit(X, X @ W)
    report = explain_row(net, X[[3]], background=X, training=X, random_state=0)
    assert report.neighbours.index[0] == 3
    np.testing.assert_allclose(report.values, skexplain.explain(net, X[[3]], background=X, random_state=0).values[0])
    assert report.resampled.std() > 0


def test_several_inputs():
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(3, 2)

        def forward(self, a, b):
            return self.last(torch.cat([a, b], 1))

    inputs = {"a": RNG.normal(size=(30, 2)).astype(np.float32), "b": RNG.normal(size=(30, 1)).astype(np.float32)}
    fitted = skexplain.from_fitted(Two(), inputs, random_state=0)
    report = fitted.explain_row({name: part[[4]] for name, part in inputs.items()})
    assert report.explanation.names == ("a[0]", "a[1]", "b")
    assert report.neighbours.index[0] == 4
    with pytest.raises(ValueError, match="row has 30 rows"):
        fitted.explain_row(inputs)


def test_text_and_html():
    report = of([2.0, 2, 2], training=X, feature_names=["<b>", "c", "d"])
    text = repr(report)
    for part in ("raised by <b> = 2", "20 resampled backgrounds", "same sign", "Nearest training rows", "distance"):
        assert part in text
    assert "<b>" not in report._repr_html_()
    assert isinstance(report, RowReport)


@pytest.mark.parametrize(
    ("row", "kwargs", "said"),
    [
        (X[:2], {}, r"pass one row with two dimensions, such as X.iloc\[\[0\]\]"),
        (X[:0], {}, "pass one row"),
        (X[0], {}, "pass one row"),
        (X[:1], {"n_resamples": 0}, "n_resamples"),
        (X[:1], {"n_neighbours": 0}, "n_neighbours"),
        (X[:1], {"training": X[:, :2]}, r"training has the shape \(80, 2\)"),
        (X[:1], {"training": X[:0]}, "training has the shape"),
        (X[:1], {"attribution": "permutation"}, "explains no single rows"),
        (X[:1], {"background": None}, "would be compared with itself"),
    ],
)
def test_refused(row, kwargs, said):
    kwargs = {"attribution": "exact_shapley", "background": X} | kwargs
    with pytest.raises(ValueError, match=said):
        explain_row(LINEAR, row, **kwargs)


def test_frames_of_other_columns_and_several_outputs_are_refused():
    frame = pd.DataFrame(X, columns=list("abc"))
    model = LinearRegression().fit(frame, X[:, :2])
    kwargs = {"attribution": "exact_shapley", "background": frame}
    with pytest.raises(ValueError, match="training has no column 'c'"):
        explain_row(model, frame[:1], training=frame[["a", "b"]], target=0, **kwargs)
    with pytest.raises(ValueError, match="means 2 outputs"):
        explain_row(model, frame[:1], **kwargs)
    assert explain_row(model, frame[:1], target=1, **kwargs).explanation.target.tolist() == [1]
