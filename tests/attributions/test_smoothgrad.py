import numpy as np
import pytest
from scipy import stats

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import Saliency, SmoothGrad, _smoothgrad
from skexplain.attributions._smoothgrad import _normals

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(20, 3)), RNG.normal(size=(50, 3)) * [1, 3, 0]
TARGET = np.zeros(20, int)


class Cubes(Network):
    """sum x_j³ + x_0 x_1²: the gradient of the first column, 3 x_0² + x_1², is on average 3 s_0² + s_1² more."""

    head = Head("linear", 1)

    def raw(self, X):
        return ((X**3).sum(axis=1) + X[:, 0] * X[:, 1] ** 2)[:, None]

    def gradient(self, X, target):
        g = 3 * X**2
        g[:, 0] += X[:, 1] ** 2
        g[:, 1] += 2 * X[:, 0] * X[:, 1]
        return g


def smoothed(sigma):
    g = Cubes().gradient(X, TARGET) + 3 * sigma**2
    g[:, 0] += sigma[1] ** 2
    return np.abs(g)


def test_closed_form_of_cubes():
    sigma = 0.5 * B.std(axis=0)
    got = SmoothGrad(noise=0.5, n_samples=20_000, scaled=False).attribute(Cubes(), X, B, TARGET, RNG)
    assert (np.abs(got.values - smoothed(sigma)) <= 4.5 * got.error).all()
    np.testing.assert_allclose(got.values[:, 0], smoothed(sigma)[:, 0], rtol=0.05)
    assert not got.error[:, 2].any()  # a constant column gets no noise


def relu():
    """A network with kinks, and its limit: a unit's slope is on at x + z with probability Phi(u / |s w|)."""
    rng = np.random.default_rng(1)
    W, V, b = rng.normal(size=(3, 16)), rng.normal(size=(16, 1)), rng.normal(size=16)
    net = DenseNetwork([W, V], [b, np.zeros(1)], "relu", Head("linear", 1))

    def limit(sigma):
        on = stats.norm.cdf((X @ W + b) / np.linalg.norm(sigma[:, None] * W, axis=0))
        return np.abs((on * V[:, 0]) @ W.T)

    return net, limit


@pytest.mark.parametrize(
    ("net", "limit", "n_samples"), [(*relu(), 50), (Cubes(), smoothed, 200)], ids=["relu", "cubes"]
)
def test_standard_error_covers_the_limit(net, limit, n_samples, monkeypatch):
    """95 % intervals in 200 samplings; squares of normal draws are so skewed that they need more of them."""
    monkeypatch.setattr(_smoothgrad, "check_paths", lambda *args: None)  # slow at kinks
    strategy, truth, hits = SmoothGrad(noise=0.5, n_samples=n_samples, scaled=False), limit(0.5 * B.std(axis=0)), []
    for seed in range(200):
        got = strategy.attribute(net, X, B, TARGET, np.random.default_rng(seed))
        hits.append(np.abs(got.values - truth)[:, :2] < 1.96 * got.error[:, :2])
    assert (np.mean(hits, axis=(0, 1)) > 0.9).all()
    assert np.mean(hits) < 0.99


def test_errors_of_rows_are_independent():
    """So the error of a mean over rows falls with their number, as the importances assume."""
    off = []
    for seed in range(100):
        got = SmoothGrad(noise=0.5, scaled=False).attribute(Cubes(), X, B, TARGET, np.random.default_rng(seed))
        off.append(((got.values - smoothed(0.5 * B.std(axis=0))) / np.maximum(got.error, 1e-300))[:, 0])
    correlation = np.corrcoef(np.array(off).T)
    assert np.abs(correlation[np.triu_indices(20, 1)].mean()) < 0.03


def test_error_falls_with_the_root_of_the_samples():
    few = SmoothGrad(n_samples=100).attribute(Cubes(), X, B, TARGET, RNG).error[:, 0].mean()
    many = SmoothGrad(n_samples=1600).attribute(Cubes(), X, B, TARGET, RNG).error[:, 0].mean()
    assert few / many == pytest.approx(4, rel=0.15)


def test_without_noise_it_is_saliency():
    for scaled in (True, False):
        got = SmoothGrad(noise=0, scaled=scaled).attribute(Cubes(), X, B, TARGET, RNG)
        want = Saliency(scaled=scaled).attribute(Cubes(), X, B, TARGET, RNG)
        np.testing.assert_array_equal(got.values, want.values)
        assert not got.error.any()


def test_draws_are_normal_and_independent():
    keys, counters = RNG.integers(2**63, size=(2, 100), dtype=np.uint64)
    z = _normals(keys, counters, (4, 5))
    assert z.shape == (100, 100, 4, 5)
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    for along in (z.reshape(100, -1).T, z.reshape(100, 100, 20).transpose(0, 2, 1).reshape(-1, 100), z.reshape(-1, 20)):
        c = np.corrcoef(along.T)
        assert np.abs(c[np.triu_indices(len(c), 1)]).max() < 5.5 / np.sqrt(len(along))
    np.testing.assert_array_equal(_normals(keys[3:4], counters[2:3], (4, 5))[0, 0], z[2, 3])


def test_interruption_gives_whole_pairs():
    class Interrupted(Cubes):
        calls = 0

        def mean_gradient(self, *args):
            self.calls += 1
            if self.calls > 7:  # the check of the paths is one
                raise KeyboardInterrupt
            return super().mean_gradient(*args)

    many = np.tile(X, (250, 1))  # one pair a call
    with pytest.warns(UserWarning, match="Interrupted: SmoothGrad of 12 of 50 samples a row"):
        got = SmoothGrad().attribute(Interrupted(), many, B, np.zeros(len(many), int), RNG)
    assert np.isfinite(got.values).all()
    net = Interrupted()
    net.calls = 3
    with pytest.raises(KeyboardInterrupt):
        SmoothGrad().attribute(net, many, B, np.zeros(len(many), int), RNG)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"noise": -0.1}, "noise == -0.1, must be >= 0"),
        ({"noise": np.nan}, "noise=nan must be a finite number of at least 0"),
        ({"noise": np.inf}, "noise=inf must be a finite number"),
        ({"n_samples": 3}, "n_samples == 3, must be >= 10"),
    ],
)
def test_bad_parameters(params, message):
    net = DenseNetwork([np.ones((3, 1))], [np.zeros(1)], "identity", Head("linear", 1))
    with pytest.raises(ValueError, match=message):
        SmoothGrad(**params).attribute(net, X, B, TARGET, RNG)


def test_noise_needs_a_background_that_varies():
    net = DenseNetwork([np.ones((3, 1))], [np.zeros(1)], "identity", Head("linear", 1))
    with pytest.raises(ValueError, match=r"noise=0.15 is a fraction .* background, which has 2 row.*'saliency'"):
        SmoothGrad(scaled=False).attribute(net, X, B[[0, 0]], TARGET, RNG)
    got = SmoothGrad(scaled=False, noise=0).attribute(net, X, B[:1], TARGET, RNG)
    np.testing.assert_allclose(got.values, 1)
