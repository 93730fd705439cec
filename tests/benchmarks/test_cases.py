"""Every case still runs, at tiny size, and ours is as accurate as the peer."""

import importlib
import os
import subprocess
import sys

import pytest

from benchmarks import CASES
from benchmarks._case import Setting, run


@pytest.mark.filterwarnings("ignore")  # the peers'
@pytest.mark.parametrize("name", [name for name, module in CASES.items() if module != "on_keras"])
def test_case(name):
    build = getattr(importlib.import_module(f"benchmarks.{CASES[name]}"), name)
    result = run(name, build, Setting(tiny=True), 1, "wall")
    assert result.peer > 0
    assert result.ours > 0
    assert build.__doc__.splitlines()[0]


def test_cases_on_keras():
    """In one process of their own: shap's explainer changes TensorFlow for good."""
    pytest.importorskip("tensorflow")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.on_keras"],
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [name for name, module in CASES.items() if module == "on_keras"]
