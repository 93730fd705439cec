"""VIANN on sequences of weights fed by hand."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skexplain.training import _weight_watcher
from skexplain.training._variance import VarianceImportance

from .loop import Weights, train

RNG = np.random.default_rng(0)


def viann(samples):
    """The formula on a stored history."""
    scores = (np.var(samples, axis=0) * np.abs(samples[-1])).sum(axis=1)
    return scores / scores.sum()


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_is_the_formula(per):
    samples = RNG.normal(size=(30, 4, 6))
    seen = samples if per == "step" else samples[[0, 3, 6, 9, 12, 15, 18, 21, 24, 27]]
    got = train(VarianceImportance(per=per), samples[:28], per_epoch=3)
    expected = viann(samples[:28] if per == "step" else seen)
    np.testing.assert_allclose(got.var_scores, expected, rtol=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(2, 30))
def test_streaming_is_the_stored_history(data, n):
    samples = data.draw(arrays(np.float32, (n, 2, 3), elements=st.floats(-1e3, 1e3, width=32)))
    found = Weights(samples[0])
    watcher = VarianceImportance(per="step", normalize=None)
    original, _weight_watcher.input_weights = _weight_watcher.input_weights, lambda model, X: model.input_weights()
    buffer, _weight_watcher.BUFFER = _weight_watcher.BUFFER, 6 * data.draw(st.integers(1, 5))
    try:
        train(watcher, samples, model=found)
    finally:
        _weight_watcher.input_weights, _weight_watcher.BUFFER = original, buffer
    history = samples.astype(np.float64)
    expected = (np.var(history, axis=0) * np.abs(history[-1])).sum(axis=1)
    np.testing.assert_allclose(watcher.var_scores, expected, rtol=1e-9, atol=1e-6)


def test_blocks_of_steps_are_the_steps_one_by_one():
    samples = RNG.normal(size=(20, 3, 4))
    one_by_one = train(VarianceImportance(per="step"), samples)
    model, blocks = Weights(samples[0]), VarianceImportance(per="step")
    blocks.on_train_begin(model)
    for block in (samples[1:8], samples[8:9], samples[9:]):
        blocks._steps([block])
    model.values = samples[-1]
    blocks.on_train_end()
    np.testing.assert_allclose(blocks.var_scores, one_by_one.var_scores, rtol=1e-12)


def test_the_original_formula_drops_the_first_jump():
    start, after = np.zeros((2, 3)), np.array([[1.0, 1, 1], [5, 5, 5]])
    assert train(VarianceImportance(), [start, after, after]).var_scores[1] > 0.9
    dropped = train(VarianceImportance(include_initial=False), [start, after, after])
    assert dropped.var_scores.tolist() == [0, 0]


def test_one_epoch_is_finite():
    samples = RNG.normal(size=(2, 3, 4))
    assert train(VarianceImportance(), samples).var_scores.sum() == pytest.approx(1)
    assert train(VarianceImportance(include_initial=False), samples).var_scores.tolist() == [0, 0, 0]


def test_normalisation():
    samples = RNG.normal(size=(5, 3, 4))
    raw = train(VarianceImportance(normalize=None), samples).var_scores
    np.testing.assert_allclose(raw, (samples.var(axis=0) * np.abs(samples[-1])).sum(axis=1))
    papers = train(VarianceImportance(normalize="minmax"), samples).var_scores
    np.testing.assert_allclose(papers, (raw - raw.min()) / (raw.max() - raw.min()))
    with pytest.raises(ValueError, match="normalize='max' must be 'sum', 'minmax' or None"):
        train(VarianceImportance(normalize="max"), samples)
    with pytest.raises(ValueError, match="per='batch' must be 'epoch' or 'step'"):
        train(VarianceImportance(per="batch"), samples)


def test_a_second_training_starts_afresh_unless_it_goes_on():
    samples = RNG.normal(size=(9, 3, 4))
    watcher, model = VarianceImportance(), Weights(samples[0])
    train(watcher, samples[:5], model=model)
    train(watcher, samples[4:], model=model)  # begins with the weights that the first ended with
    np.testing.assert_allclose(watcher.var_scores, viann(samples), rtol=1e-12)
    train(watcher, samples[:5], model=model)
    np.testing.assert_allclose(watcher.var_scores, viann(samples[:5]), rtol=1e-12)


def test_scores_before_training():
    watcher = VarianceImportance()
    with pytest.raises(NotFittedError, match="has watched no training to its end"):
        _ = watcher.var_scores
    watcher.on_train_begin(Weights(np.ones((2, 2))))
    with pytest.raises(NotFittedError, match="has watched no training to its end"):
        _ = watcher.var_scores


def test_no_model():
    with pytest.raises(ValueError, match=r"knows no model to watch; call on_train_begin\(model\)"):
        VarianceImportance().on_train_begin()
    with pytest.raises(ValueError, match=r"on_train_end\(\) was called, but no training has begun"):
        VarianceImportance().on_train_end()


def test_weights_that_are_not_numbers():
    samples = RNG.normal(size=(4, 2, 2))
    samples[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite after epoch 2 at the latest. The training has diverged"):
        train(VarianceImportance(), samples)


def test_initial_weights_that_are_not_numbers():
    with pytest.raises(ValueError, match="NaN or infinite before the training"):
        train(VarianceImportance(), np.full((2, 2, 2), np.nan))


def test_calls_out_of_turn():
    for call in (VarianceImportance().on_epoch_end, VarianceImportance(per="step").on_batch_end):
        with pytest.raises(ValueError, match="but no training has begun"):
            call()
    over = train(VarianceImportance(), RNG.normal(size=(3, 2, 2)))
    with pytest.raises(ValueError, match=r"on_epoch_end\(\) was called, but no training has begun"):
        over.on_epoch_end()
    assert over.feature_importances_ is not None


def test_columns_on_different_scales():
    X = RNG.normal(size=(50, 3)) * [1, 100, 0]
    watcher = VarianceImportance()
    watcher.look(X, names=["a", "b", "constant"])
    with pytest.warns(UserWarning, match="not on one scale.*of b is .*, of a .*StandardScaler"):
        train(watcher, RNG.normal(size=(3, 3, 2)))
    watcher.look(X[:, [0, 2, 0]])
    train(watcher, RNG.normal(size=(3, 3, 2)))


def test_is_a_parameter_that_can_be_copied_and_kept():
    watcher = train(VarianceImportance(per="step"), RNG.normal(size=(3, 3, 2)))
    kept = pickle.loads(pickle.dumps(watcher))
    np.testing.assert_array_equal(kept.var_scores, watcher.var_scores)
    twin = clone(watcher)
    assert twin.per == "step"
    with pytest.raises(NotFittedError):
        _ = twin.var_scores
