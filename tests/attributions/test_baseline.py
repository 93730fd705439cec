import numpy as np
import pytest

from skexplain.attributions._baseline import baseline_rows

B = np.array([[0.0, 1.0], [2.0, 4.0], [4.0, 1.0]])


@pytest.mark.parametrize(
    ("baseline", "rows"),
    [
        ("mean", [[2, 2]]),
        ("zero", [[0, 0]]),
        ("background", B),
        ([5, 6], [[5, 6]]),
        ([[5, 6]], [[5, 6]]),
        ([[5, 6], [7, 8]], [[5, 6], [7, 8]]),
    ],
)
def test_rows(baseline, rows):
    got = baseline_rows(baseline, B)
    np.testing.assert_array_equal(got, rows)
    assert got.dtype == np.float64


def test_rows_of_several_dimensions():
    pictures = B.reshape(3, 1, 2)
    assert baseline_rows("mean", pictures).shape == (1, 1, 2)
    for one in ([5, 6], [[5, 6]], [[[5, 6]]]):
        np.testing.assert_array_equal(baseline_rows(one, pictures), [[[5, 6]]])
    np.testing.assert_array_equal(baseline_rows(B, pictures), pictures)
    np.testing.assert_array_equal(baseline_rows(pictures, pictures), pictures)


def test_whole_numbers_have_a_mean():
    np.testing.assert_array_equal(baseline_rows("mean", np.array([[0, 1], [1, 1]])), [[0.5, 1]])


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("median", r"Unknown baseline 'median'; valid names are \['background', 'mean', 'zero'\]"),
        ([1, 2, 3], r"baseline has shape \(3,\), but a row of the network's input has shape \(2,\)"),
        ([[1, 2, 3]], r"baseline has shape \(1, 3\)"),
        (np.empty((0, 2)), r"baseline has shape \(0, 2\)"),
        ([1, 2, 3, 4], r"baseline has shape \(4,\)"),
        ([np.nan, 0], "NaN or infinity; it must be finite"),
        (["a", "b"], "must contain numbers"),
    ],
)
def test_bad_baselines(baseline, message):
    with pytest.raises(ValueError, match=message):
        baseline_rows(baseline, B)


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_text_has_no_mean(baseline):
    mixed = np.array([["a", 1], ["b", 2]], dtype=object)
    with pytest.raises(ValueError, match="use baseline='background'"):
        baseline_rows(baseline, mixed)
    np.testing.assert_array_equal(baseline_rows("background", mixed), mixed)
    np.testing.assert_array_equal(baseline_rows(["a", 3], mixed), [["a", 3]])


def test_gaps_have_no_mean():
    with pytest.raises(ValueError, match="contains text, NaN or infinity"):
        baseline_rows("mean", np.array([[np.nan, 1.0]]))
