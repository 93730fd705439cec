"""Importing the room is free, and says what is missing when it is used."""

import subprocess
import sys

import pytest

import skexplain.keras

from .conftest import BACKEND

HIDE = """
import importlib.abc, os, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
os.environ["KERAS_BACKEND"] = "tensorflow"
"""


def run(code, hidden=()):
    code = f"HIDDEN = {tuple(hidden)!r}\n{HIDE}\n{code}" if hidden else code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_import_loads_no_framework():
    code = "import sys, skexplain.keras; print({'keras', 'tensorflow', 'torch', 'skorch'} & set(sys.modules))"
    assert run(code).stdout.strip() == "set()"


@pytest.mark.parametrize("name", skexplain.keras.__all__)
def test_missing_keras(name):
    result = run(f"from skexplain.keras import {name}", hidden=["keras"])
    assert result.returncode == 1
    assert "pip install 'skexplain[keras]'" in result.stderr


def test_missing_tensorflow():
    result = run("from skexplain.keras import KerasClassifier", hidden=["tensorflow"])
    assert "pip install 'skexplain[keras]'" in result.stderr


@pytest.mark.skipif(BACKEND != "tensorflow", reason="its torch back end does need torch")
def test_keras_half_needs_no_torch():
    code = (
        "from skexplain.keras import KerasRegressor; import numpy as np;"
        "X = np.random.rand(40, 3); r = KerasRegressor(epochs=2, random_state=0).fit(X, X[:, 0]);"
        "print(r.feature_importances_.shape)"
    )
    result = run(code, hidden=["torch", "skorch"])
    assert result.stdout.strip() == "(3,)", result.stderr[-2000:]


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        skexplain.keras.Nothing  # noqa: B018
    assert "KerasClassifier" in dir(skexplain.keras)
