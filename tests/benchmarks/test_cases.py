"""Every case still runs, at tiny size, and ours is as accurate as the peer."""

import importlib

import pytest

from benchmarks import CASES
from benchmarks._case import Setting, run


@pytest.mark.filterwarnings("ignore")  # the peers'
@pytest.mark.parametrize("name", CASES)
def test_case(name):
    build = getattr(importlib.import_module(f"benchmarks.{CASES[name]}"), name)
    result = run(name, build, Setting(tiny=True), 1, "wall")
    assert result.peer > 0
    assert result.ours > 0
    assert build.__doc__.splitlines()[0]
