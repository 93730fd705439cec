"""Keras archives for the command line: read without running code, or refused in a sentence."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from skexplain._saved import imported, read_model

RNG = np.random.default_rng(0)
CODE = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.fixture
def mine(monkeypatch, tmp_path):
    """A module with a layer of one's own, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("layers_of_mine.py").write_text(CODE)
    monkeypatch.delitem(sys.modules, "layers_of_mine", raising=False)
    yield
    sys.modules.pop("layers_of_mine", None)


def model(*layers):
    return keras.Sequential([keras.layers.Input((3,)), *layers, keras.layers.Dense(2)])


def test_the_same_model(tmp_path):
    net, X = model(keras.layers.Dense(4, "tanh")), RNG.normal(size=(5, 3)).astype(np.float32)
    net.save(tmp_path / "net.keras")
    again = read_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(X)),
        keras.ops.convert_to_numpy(net(X)),
    )


def test_a_class_that_is_not_importable(mine):
    model(imported("layers_of_mine:Twice")()).save("net.keras")
    del sys.modules["layers_of_mine"]
    with pytest.raises(ValueError, match=r"cannot be read as a Keras model: .* --module package\.module:Class"):
        read_model(Path("net.keras"))
    assert len(read_model(Path("net.keras"), "layers_of_mine:Twice").layers) == 2


def test_code_in_the_file_is_not_run(tmp_path):
    model(keras.layers.Lambda(lambda x: x + 1)).save(tmp_path / "net.keras")
    with pytest.raises(ValueError, match="cannot be read as a Keras model"):
        read_model(tmp_path / "net.keras")


def test_damaged_and_foreign_files(tmp_path):
    net = tmp_path / "net.keras"
    model().save(net)
    for content in (net.read_bytes()[:-50], b"no model", b""):
        net.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as a Keras model") as caught:
            read_model(net)
        assert "\n" not in str(caught.value)
