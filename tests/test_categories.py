"""Which columns are categorical, and what becomes of gaps, dates and single columns."""

import numpy as np
import pandas as pd
import pytest

from skexplain._categories import Categories

DATES = pd.date_range("2020", periods=4)


def encoded(X, categorical="auto"):
    names = list(X) if hasattr(X, "columns") else None
    return Categories.of(X, categorical, names).encode(X, names, np.float64, None)


@pytest.mark.parametrize("gap", [None, np.nan])
def test_a_gap_makes_no_level_of_every_number(gap):
    X = np.array([[1.5, "a"], [gap, "b"], [2.5, "a"]], dtype=object)
    assert Categories.of(X, "auto", None).columns.tolist() == [1]
    with pytest.raises(ValueError, match=r"column 'x0' of numbers. Fill the gaps"):
        encoded(X)
    assert encoded(X, [0, 1])[:, 0].tolist() == [2, 1, 3]


@pytest.mark.parametrize(
    "dates", [DATES, DATES.tz_localize("UTC"), DATES - DATES[0]], ids=["dates", "time zone", "durations"]
)
def test_dates_are_neither_levels_nor_numbers_unless_it_is_said(dates):
    X = pd.DataFrame({"day": dates, "kind": list("abab")})
    with pytest.raises(ValueError, match=r"'day' contains dates or times. Pass a number"):
        encoded(X)
    assert encoded(X, ["day", "kind"])[:, 0].tolist() == [2, 3, 4, 5]
    with pytest.raises(ValueError, match="'x0' contains dates"):
        encoded(DATES.to_numpy()[:, None])


def test_a_column_alone_is_no_table():
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        Categories.of(pd.Series(["a", "b"]), "auto", None)
