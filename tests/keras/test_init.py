"""Importing the room is free, and says what is missing when it is used."""

import subprocess
import sys

import pytest

import skexplain.keras


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_import_loads_no_framework():
    code = "import sys, skexplain.keras; print({'keras', 'tensorflow', 'torch', 'skorch'} & set(sys.modules))"
    assert run(code).stdout.strip() == "set()"


@pytest.mark.parametrize("name", skexplain.keras.__all__)
def test_missing_keras(name):
    code = f"import sys; sys.modules['keras'] = None; from skexplain.keras import {name}"
    result = run(code)
    assert result.returncode == 1
    assert "pip install 'skexplain[keras]'" in result.stderr


def test_missing_tensorflow():
    code = (
        "import os, sys; os.environ['KERAS_BACKEND'] = 'tensorflow'; sys.modules['tensorflow'] = None;"
        "from skexplain.keras import KerasClassifier"
    )
    assert "pip install 'skexplain[keras]'" in run(code).stderr


def test_keras_half_needs_no_torch():
    code = (
        "import os, sys; os.environ['KERAS_BACKEND'] = 'tensorflow'; sys.modules['torch'] = None;"
        "sys.modules['skorch'] = None; from skexplain.keras import KerasRegressor; import numpy as np;"
        "X = np.random.rand(40, 3); r = KerasRegressor(epochs=2, random_state=0).fit(X, X[:, 0]);"
        "print(r.feature_importances_.shape)"
    )
    result = run(code)
    assert result.stdout.strip() == "(3,)", result.stderr[-2000:]


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        skexplain.keras.Nothing  # noqa: B018
    assert "KerasClassifier" in dir(skexplain.keras)
