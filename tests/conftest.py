"""One thread everywhere: two on a busy machine can be ten times slower."""

import os
import random
import sys
import zlib

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def own_draws(request):
    """Each test draws its own numbers and weights, whichever tests ran before it in its process."""
    seed = zlib.crc32(request.node.name.encode())
    random.seed(seed)  # what Keras draws the seeds of its weights from
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    if hasattr(getattr(request, "module", None), "RNG"):
        request.module.RNG.bit_generator.state = np.random.default_rng(seed).bit_generator.state


@pytest.fixture(scope="session")
def blobs():
    """Three classes that columns 0 and 1 decide; column 2 is noise, column 3 constant."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4)).astype(np.float32)
    X[:, 3] = 2.5
    y = np.digitize(1.5 * X[:, 0] - X[:, 1], [-0.7, 0.7])
    return X, y


@pytest.fixture(scope="session")
def line():
    """An exact linear target: 3 x0 - x1 + 5, column 2 unused."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    return X, (3 * X[:, 0] - X[:, 1] + 5).astype(np.float32)
