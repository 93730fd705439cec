"""The weights through the training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.exceptions import NotFittedError

from skexplain.training import WeightHistory

from .loop import Weights, train

RNG = np.random.default_rng(0)
SAMPLES = RNG.normal(size=(7, 3, 4)).astype(np.float32)


def test_keeps_what_it_saw():
    history = train(WeightHistory(), SAMPLES)
    np.testing.assert_array_equal(history.weights, SAMPLES)
    assert history.times.tolist() == list(range(7))
    assert history.names == ("x0", "x1", "x2")


def test_every_so_many_steps():
    history = train(WeightHistory(per="step", every=3), SAMPLES)
    np.testing.assert_array_equal(history.weights, SAMPLES[::3])
    assert history.times.tolist() == [0, 3, 6]


def test_blocks_of_steps():
    model, history = Weights(SAMPLES[0]), WeightHistory(per="step", every=2)
    history.on_train_begin(model)
    history._steps([SAMPLES[1:4]])
    history._steps([SAMPLES[4:]])
    model.values = SAMPLES[-1]
    history.on_train_end()
    np.testing.assert_array_equal(history.weights, SAMPLES[::2])


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 9), st.integers(1, 60), st.integers(1, 4))
def test_memory_is_bounded_and_samples_stay_even(most, n, every):
    history = WeightHistory(every=every, max_samples=most)
    samples = np.arange(n + 1.0)[:, None, None] * np.ones((1, 2, 1))
    model = Weights(samples[0])
    import skexplain.training._weight_watcher as room

    original, room.input_weights = room.input_weights, lambda model, X: model.input_weights()
    try:
        train(history, samples, model=model)
    finally:
        room.input_weights = original
    assert len(history.weights) <= most
    assert history.times.tolist() == list(range(0, n + 1, history.stride))
    assert history.weights[:, 0, 0].tolist() == history.times.tolist()


def test_figures_are_sums_over_a_columns_weights():
    history = train(WeightHistory(), SAMPLES)
    exact = SAMPLES.astype(np.float64)
    np.testing.assert_allclose(history.std(), exact.std(axis=0).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(history.range(), np.ptp(exact, axis=0).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(history.mean_abs(), np.abs(exact).mean(axis=0).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(history.path_length(), np.abs(np.diff(exact, axis=0)).sum(axis=(0, 2)), rtol=1e-6)


def test_figures_count_what_was_dropped():
    samples = RNG.normal(size=(40, 3, 4)).astype(np.float32)
    all_of_it, thinned = train(WeightHistory(), samples), train(WeightHistory(max_samples=4), samples)
    assert len(thinned.weights) <= 4
    for figure in ("std", "range", "mean_abs", "path_length"):
        np.testing.assert_allclose(getattr(thinned, figure)(), getattr(all_of_it, figure)(), rtol=1e-12)


def test_on_disk(tmp_path):
    path = tmp_path / "weights.bin"
    history = train(WeightHistory(path=path, max_samples=2), SAMPLES)
    assert path.stat().st_size == 2 * SAMPLES.size
    assert [p.name for p in tmp_path.iterdir()] == ["weights.bin"]
    np.testing.assert_allclose(history.weights, SAMPLES, atol=2e-3)
    assert isinstance(history._samples(), np.memmap)
    model = Weights(SAMPLES[-1])
    train(history, [SAMPLES[-1], SAMPLES[0]], model=model)  # goes on
    assert history.weights.shape == (8, 3, 4)
    np.testing.assert_allclose(history.weights[7], SAMPLES[0], atol=2e-3)


def test_two_trainings_do_not_share_a_file(tmp_path):
    path = tmp_path / "weights.bin"
    one, other = WeightHistory(path=path), WeightHistory(path=path)
    models = Weights(SAMPLES[0]), Weights(SAMPLES[0])
    for history, model in zip((one, other), models, strict=True):
        history.on_train_begin(model)
    for k in (1, 2):
        for history, model in zip((one, other), models, strict=True):
            model.values = SAMPLES[k] * (1 if history is one else 2)
            history.on_epoch_end()
    one.on_train_end()
    np.testing.assert_allclose(one.weights, SAMPLES[:3], atol=2e-3)
    other.on_train_end()
    np.testing.assert_allclose(other.weights[2], 2 * SAMPLES[2], atol=4e-3)
    with pytest.raises(ValueError, match="is not, or no longer, the file with the samples of this training"):
        _ = one.weights
    path.unlink()
    with pytest.raises(ValueError, match="Give each training a path of its own"):
        _ = other.weights


def test_an_earlier_file_stays_until_there_is_another(tmp_path):
    path = tmp_path / "weights.bin"
    train(WeightHistory(path=path), SAMPLES)
    before = path.read_bytes()
    again = WeightHistory(path=path)
    broken = SAMPLES.copy()
    broken[3] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        train(again, broken)
    assert path.read_bytes() == before
    again.release()
    assert [p.name for p in tmp_path.iterdir()] == ["weights.bin"]


def test_too_large_for_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"a weight of 1e\+05 is too large for float16.*Leave path out"):
        train(WeightHistory(path=tmp_path / "w"), [np.ones((1, 1)), np.full((1, 1), 1e5)])


def test_density_figures():
    pytest.importorskip("pandas")
    samples = np.concatenate([0.05 * RNG.normal(size=(50, 1, 3)), 5 * RNG.normal(size=(50, 1, 3))], axis=1)
    samples = np.concatenate([samples, np.ones((50, 1, 3))], axis=1)
    history = train(WeightHistory(feature_names=["still", "moving", "fixed"]), samples)
    frame = history.density_figures()
    assert list(frame.columns) == ["len", "max", "sum", "mean", "stdev"]
    values = history.weights[:, 0].astype(float).ravel()
    density = norm.pdf(values, values.mean(), values.std(ddof=1))
    high = density[density > 1]
    expected = [len(high), high.max(), high.sum(), high.mean(), high.std(ddof=1)]
    np.testing.assert_allclose(frame.loc["still"].to_numpy(), expected)
    assert frame.loc["moving", "len"] == 0
    assert np.isnan(frame.loc["moving", ["max", "mean", "stdev"]].to_numpy(dtype=float)).all()
    assert frame.loc["fixed", "len"] == 150
    assert np.isinf(frame.loc["fixed", "max"])
    assert history.density_figures(above=0).loc["moving", "len"] == 150


def test_bad_input():
    with pytest.raises(NotFittedError, match="WeightHistory has watched no training to its end"):
        _ = WeightHistory().weights
    with pytest.raises(ValueError, match="every == 0, must be >= 1"):
        train(WeightHistory(every=0), SAMPLES)
    with pytest.raises(ValueError, match="max_samples == 1, must be >= 2"):
        train(WeightHistory(max_samples=1), SAMPLES)
    with pytest.raises(TypeError, match="path=3 must be the name of a file"):
        train(WeightHistory(path=3), SAMPLES)
    with pytest.raises(ValueError, match="feature_names has 1 names, but there are 3 columns"):
        _ = train(WeightHistory(feature_names=["a"]), SAMPLES).names
