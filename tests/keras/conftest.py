"""The same tests run on either back end: KERAS_BACKEND=torch pytest tests/keras."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

keras = pytest.importorskip("keras")

BACKEND = keras.backend.backend()

if BACKEND == "torch":
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    # Keras' own conversions call __array__ without NumPy 2's copy keyword; not ours to mend
    for item in items:
        if "keras" in str(item.fspath):
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"))


@pytest.fixture(scope="session")
def backend():
    return BACKEND


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def iris():
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    return X[::3], y[::3]
