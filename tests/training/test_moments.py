"""The streaming variance is that of the stored history."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skexplain.training._moments import Moments

FLOATS = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(1, 40), st.integers(1, 5))
def test_variance_is_numpys(data, n, size):
    samples = data.draw(arrays(np.float64, (n, size), elements=FLOATS))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    moments = Moments(size)
    for block in np.split(samples, cuts):
        moments.add(block)
    scale = np.abs(samples).max(initial=1)
    assert moments.count == n
    np.testing.assert_allclose(moments.mean, samples.mean(axis=0), atol=1e-12 * scale)
    np.testing.assert_allclose(moments.variance, samples.var(axis=0), rtol=1e-9, atol=1e-13 * scale**2)


def test_far_from_zero_no_digits_are_lost():
    samples = 1e8 + np.random.default_rng(0).normal(size=(1000, 3))
    moments = Moments(3)
    for sample in samples:
        moments.add(sample[None])
    np.testing.assert_allclose(moments.variance, samples.var(axis=0), rtol=1e-7)


def test_float32_samples_are_added_up_in_float64():
    samples = np.random.default_rng(0).normal(1000, 0.01, size=(500, 2)).astype(np.float32)
    moments = Moments(2)
    moments.add(samples)
    np.testing.assert_allclose(moments.variance, samples.astype(np.float64).var(axis=0), rtol=1e-10)


def test_nothing_seen():
    moments = Moments(2)
    moments.add(np.empty((0, 2)))
    assert moments.count == 0
    assert moments.variance.tolist() == [0, 0]
