"""Shapes and contents of the results are frozen here."""

import numpy as np
import pandas as pd
import pytest
from sklearn.neural_network import MLPClassifier

import skexplain
from skexplain import Importances


@pytest.fixture(scope="module")
def net(blobs):
    return MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(*blobs)


def test_one_output(net, blobs):
    exp = skexplain.explain(net, blobs[0], random_state=0)
    assert exp.shape == exp.error.shape == (150, 4)
    assert exp.base_values.shape == exp.predictions.shape == exp.target.shape == (150,)
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), exp.predictions)
    np.testing.assert_array_equal(exp.target, net.predict(blobs[0]))


def test_all_outputs(net, blobs):
    exp = skexplain.explain(net, blobs[0], target="all", random_state=0)
    assert exp.shape == exp.error.shape == (150, 4, 3)
    assert exp.base_values.shape == exp.predictions.shape == (150, 3)
    assert exp.target is None
    assert exp.outputs.tolist() == [0, 1, 2]
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), exp.predictions)
    one = skexplain.explain(net, blobs[0], target=2, random_state=0)
    np.testing.assert_allclose(one.values, exp.values[:, :, 2])


def test_rows(net, blobs):
    exp = skexplain.explain(net, pd.DataFrame(blobs[0]), random_state=0)
    assert len(exp[3]) == 1
    np.testing.assert_array_equal(exp[-1].values, exp.values[-1:])
    np.testing.assert_array_equal(exp[10:20].data, exp.data.iloc[10:20])


@pytest.mark.parametrize("target", ["predicted", "all"])
def test_tidy_frame(net, blobs, target):
    exp = skexplain.explain(net, blobs[0][:6], target=target, random_state=0)
    frame = exp.to_frame()
    assert list(frame) == ["row", "feature", "output", "value", "error"]
    assert len(frame) == exp.values.size
    line = frame[(frame.row == 4) & (frame.feature == "x1")]
    np.testing.assert_array_equal(line.value, np.ravel(exp.values[4, 1]))
    assert line.output.tolist() == ([0, 1, 2] if target == "all" else [exp.target[4]])


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of matplotlib, in shap
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_shap_draws_it(net, blobs):
    import matplotlib.pyplot as plt
    import shap

    exp = skexplain.explain(net, blobs[0], random_state=0).to_shap()
    assert exp.shape == (150, 4)
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), net_margin(net, blobs[0]))
    for draw in (shap.plots.bar, shap.plots.beeswarm):
        draw(exp, show=False)
        plt.close("all")
    shap.plots.waterfall(exp[0], show=False)
    plt.close("all")


def net_margin(net, X):
    return skexplain.explain(net, X, attribution="saliency").predictions


def test_importances(net, blobs):
    X, _ = blobs
    imp = skexplain.importances(net, pd.DataFrame(X, columns=list("abcd")), random_state=0)
    exp = skexplain.explain(net, X, random_state=0)
    assert imp.names == tuple("abcd")
    assert imp.values.shape == imp.signed.shape == imp.error.shape == imp.normalized.shape == (4,)
    np.testing.assert_allclose(imp.values, np.abs(exp.values).mean(axis=0))
    np.testing.assert_allclose(imp.signed, exp.values.mean(axis=0))
    assert imp.normalized.sum() == pytest.approx(1)
    assert set(imp.per_class) == {0, 1, 2}
    np.testing.assert_allclose(imp.per_class[1], np.abs(exp.values[exp.target == 1]).mean(axis=0))
    assert imp.n_rows == 150
    np.testing.assert_array_equal(np.asarray(imp), imp.values)
    again = skexplain.importances(net, X, random_state=imp.random_state)
    np.testing.assert_array_equal(again.values, imp.values)
    frame = imp.to_frame()
    assert frame.feature.tolist()[0] == imp.names[imp.ranking[0]]
    assert frame.importance.is_monotonic_decreasing


def test_all_targets_are_averaged(net, blobs):
    imp = skexplain.importances(net, blobs[0], target="all", random_state=0)
    exp = skexplain.explain(net, blobs[0], target="all", random_state=0)
    np.testing.assert_allclose(imp.values, np.abs(exp.values).mean(axis=(0, 2)))
    assert imp.per_class == {}


def test_text():
    names = tuple(f"<column {j}>" for j in range(40))
    values = np.arange(40.0)
    imp = Importances(names, values, -values, np.full(40, np.nan), "Mine()", "margin", "predicted", 7, 0)
    lines = repr(imp).splitlines()
    assert lines[0] == "Importances by Mine(), 7 rows, output='margin', target='predicted'"
    assert lines[2].split()[:3] == ["<column", "39>", "0.050"]
    assert lines[-1].strip() == "and 10 more"
    assert "&lt;column 39&gt;" in imp._repr_html_()
    assert "<column" not in imp._repr_html_()


def test_block_boundaries_do_not_matter(net, blobs, monkeypatch):
    whole = skexplain.importances(net, blobs[0], random_state=0)
    monkeypatch.setattr("skexplain._explain.ROWS", 40)
    parts = skexplain.importances(net, blobs[0], random_state=0)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-6)
    np.testing.assert_allclose(parts.error, whole.error, rtol=1e-6)


def test_memory_does_not_grow_with_rows(net):
    """Beyond the rows themselves and what checking them costs."""
    import tracemalloc

    rng = np.random.default_rng(0)
    peaks = []
    for n in (2048, 40_960):
        X = rng.normal(size=(n, 4)).astype(np.float32)
        tracemalloc.start()
        skexplain.importances(net, X, attribution="saliency", random_state=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_rows_that_are_not_there(net, blobs):
    exp = skexplain.explain(net, blobs[0], random_state=0)
    with pytest.raises(IndexError, match="row 150 of an Explanation of 150 rows"):
        exp[150]
    assert exp[np.int64(1)].shape == (1, 4)
    assert len(list(exp[:4])) == 4


def test_targets_of_the_wrong_shape(net, blobs):
    X, y = blobs
    with pytest.raises(ValueError, match=r"target has shape \(150,\); pass one label, or one for each of the 50 rows"):
        skexplain.importances(net, X[:50], target=y)
    column = skexplain.explain(net, X[:50], target=y[:50].reshape(-1, 1), random_state=0)
    np.testing.assert_array_equal(column.target, y[:50])


def test_error_is_between_rows(net, blobs):
    imp = skexplain.importances(net, blobs[0], attribution="saliency", random_state=0)
    exp = skexplain.explain(net, blobs[0], attribution="saliency", random_state=0)
    np.testing.assert_allclose(imp.error, exp.values.std(axis=0, ddof=1) / np.sqrt(150), rtol=1e-6)


def test_errors_that_rows_share_do_not_average_out(net, blobs):
    """All rows are compared with the same background rows, so their mean depends on these as much as one row does."""
    exp = skexplain.explain(net, blobs[0], attribution="ablation", random_state=0)
    got = skexplain.importances(net, blobs[0], attribution="ablation", random_state=0)
    between_rows = np.abs(exp.values).std(axis=0) / np.sqrt(len(exp) - 1)
    np.testing.assert_allclose(got.error, np.hypot(between_rows, exp.error.mean(axis=0)))
