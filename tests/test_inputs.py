"""Several inputs as the columns of one table."""

import numpy as np
import pandas as pd
import pytest

from skexplain._inputs import Inputs, inputs_of, is_several

CODES, NUMBERS = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[0.5], [1.5], [2.5]], dtype=np.float32)


def test_layout_and_table():
    inputs = Inputs.of({"codes": CODES, "numbers": NUMBERS, "picture": np.zeros((3, 2, 2))})
    assert inputs.names[:4] == ["codes[0]", "codes[1]", "numbers", "picture[0, 0]"]
    assert [part.whole for part in inputs.parts] == [True, False, False]
    table = inputs.table({"picture": np.ones((3, 2, 2)), "numbers": NUMBERS, "codes": CODES})
    np.testing.assert_array_equal(table[:, :3], np.column_stack([CODES, NUMBERS]))
    np.testing.assert_array_equal(inputs.table(table), table)
    assert table.shape == (3, 7)


def test_frames_keep_their_names():
    inputs = Inputs.of((pd.DataFrame(CODES, columns=["a", "b"]), NUMBERS))
    assert inputs.names == ["a", "b", "input 1"]
    assert not inputs.named


def test_what_is_several():
    assert is_several({"a": CODES})
    assert is_several((CODES, NUMBERS))
    assert not is_several(CODES)
    assert not is_several(((1, 2), (3, 4)))
    assert is_several((CODES[:, 0], NUMBERS))
    assert inputs_of({"a": np.array(["text"])}) is None


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({}, "no input"),
        ({"a": CODES, "b": NUMBERS[:2]}, "different numbers of rows"),
        ({"a": np.array(["text"] * 3)}, "'a' has the dtype"),
    ],
)
def test_layouts_that_are_none(X, message):
    with pytest.raises(ValueError, match=message):
        Inputs.of(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({"codes": CODES}, r"inputs are codes \(2,\), numbers \(1,\), got \['codes'\]"),
        ((CODES, NUMBERS), "got a tuple of 2"),
        ({"codes": CODES[:, :1], "numbers": NUMBERS}, r"got rows of shape \(1,\)"),
        (CODES, r"shape \(3, 2\), but the network's inputs .* 3 columns together"),
    ],
)
def test_other_inputs_than_the_layout_has(X, message):
    inputs = Inputs.of({"codes": CODES, "numbers": NUMBERS})
    with pytest.raises(ValueError, match=message):
        inputs.table(X)


def test_frames_of_other_columns():
    frame, numbers = pd.DataFrame(CODES, columns=["a", "b"]), pd.DataFrame(NUMBERS, columns=["c"])
    inputs = Inputs.of((frame, numbers))
    assert inputs.table((frame, numbers)).shape == (3, 3)
    assert inputs.table((frame.to_numpy(), numbers)).shape == (3, 3)
    for X in ((frame[["b", "a"]], numbers), pd.concat([frame[["b", "a"]], numbers], axis=1)):
        with pytest.raises(ValueError, match=r"are \['a', 'b'\], got \['b', 'a'\]"):
            inputs.table(X)


def test_whole_numbers_that_would_be_rounded():
    large = CODES + 2**24
    with pytest.raises(ValueError, match=r"16777222, .* up to 16777216 only"):
        Inputs.of((large, NUMBERS)).table((large, NUMBERS))
    assert Inputs.of((large * 1.0, NUMBERS)).table((large * 1.0, NUMBERS))[0, 0] == 2**24 + 1
