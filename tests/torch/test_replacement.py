"""Replacement and gradient strategies on torch networks, beside captum's and shap's."""

import copy

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from skexplain.attributions import (
    Ablation,
    ExpectedGradients,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
)
from skexplain.torch._network import torch_network
from tests.torch.nets import D, stack, straight

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(12, D)), RNG.normal(size=(9, D))
TARGET = RNG.integers(3, size=12)
NETS = {name: straight()[name] for name in ("relu", "nested", "batchnorm")}
every_net = pytest.mark.parametrize("name", NETS)


def ours(strategy, module, X=X, B=B):
    net = torch_network(copy.deepcopy(module).double(), X, output="logit")
    return strategy.attribute(net, X, B, TARGET, np.random.default_rng(0))


def captums(method, module, X=X, **params):
    module = copy.deepcopy(module).double().eval()
    given = {k: torch.as_tensor(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}
    rows = torch.tensor(X, requires_grad=True)
    return method(module).attribute(rows, target=torch.as_tensor(TARGET), **given).detach().numpy()


@pytest.mark.parametrize("name", ["nested", "batchnorm"])
def test_integrated_gradients(name):
    """Of smooth networks; at a kink captum stops at the steps it is given."""
    for baseline, rows in {"mean": B.mean(axis=0, keepdims=True), "zero": np.zeros((1, D)), "background": B}.items():
        got = ours(IntegratedGradients(n_steps=64, baseline=baseline), NETS[name])
        want = np.mean(
            [captums(captum.attr.IntegratedGradients, NETS[name], baselines=b[None], n_steps=64) for b in rows], axis=0
        )
        np.testing.assert_allclose(got.values, want, rtol=1e-5, atol=1e-10)


@every_net
def test_input_x_gradient(name):
    want = captums(captum.attr.InputXGradient, NETS[name])
    np.testing.assert_allclose(ours(InputXGradient(), NETS[name]).values, want, rtol=1e-5, atol=1e-10)


@every_net
def test_ablation(name):
    for baseline, rows in {"mean": B.mean(axis=0, keepdims=True), "zero": np.zeros((1, D)), "background": B}.items():
        want = np.mean([captums(captum.attr.FeatureAblation, NETS[name], baselines=b[None]) for b in rows], axis=0)
        got = ours(Ablation(baseline=baseline), NETS[name]).values
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-10)


def test_ablation_of_groups():
    net = torch_network(copy.deepcopy(NETS["nested"]).double(), X, output="logit")
    groups = [np.array([0, 3]), np.array([1, 2, 4]), np.array([5])]
    got = Ablation(baseline="zero").attribute_groups(net, X, B, groups, TARGET[None], RNG).values[0]
    mask = np.array([[0, 1, 1, 0, 1, 2]])
    want = captums(captum.attr.FeatureAblation, NETS["nested"], feature_mask=mask)
    np.testing.assert_allclose(got, want[:, [0, 1, 5]], rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 1), (3, 2), (4, 3), (6, 1)])
def test_occlusion_of_columns(window, stride):
    want = captums(
        captum.attr.Occlusion,
        NETS["nested"],
        sliding_window_shapes=(window,),
        strides=(stride,),
        baselines=B.mean(axis=0, keepdims=True),
    )
    got = ours(Occlusion(window=window, stride=stride), NETS["nested"], B=B).values
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(
    ("window", "stride", "shape", "strides"),
    [
        (2, 1, (2, 2, 2), (1, 1, 1)),
        ((2, 3, 2), (2, 2, 1), (2, 3, 2), (2, 2, 1)),
        ((2,), 2, (2, 5, 6), (2, 1, 1)),
        ((1, 2), (1, 1), (1, 2, 6), (1, 1, 1)),
    ],
)
def test_occlusion_of_pictures(window, stride, shape, strides):
    module = stack(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 5, 3))
    pictures, background = RNG.normal(size=(12, 3, 5, 6)), RNG.normal(size=(9, 3, 5, 6))
    want = captums(
        captum.attr.Occlusion,
        module,
        pictures,
        sliding_window_shapes=shape,
        strides=strides,
        baselines=background.mean(axis=0, keepdims=True),
    )
    got = ours(Occlusion(window=window, stride=stride), module, pictures, background).values
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-10)


def test_smoothgrad():
    """The same limit as that of captum's, which has one noise for all columns."""
    module = NETS["nested"].double().eval()
    same = np.concatenate([np.full((5, D), 1.0), np.full((5, D), -1)])  # every column's spread is 1
    got = ours(SmoothGrad(noise=0.5, n_samples=4000, scaled=False), module, B=same)
    torch.manual_seed(0)
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(module))
    want = tunnel.attribute(
        torch.as_tensor(X),
        nt_samples=8000,
        nt_samples_batch_size=1000,
        stdevs=0.5,
        target=torch.as_tensor(TARGET),
        abs=False,
    ).numpy()
    assert (np.abs(got.values - np.abs(want)) < 5 * np.hypot(got.error, 0.01 * np.abs(want).max())).all()


def test_expected_gradients():
    """GradientShap draws background rows and positions at random: both go to the same limit."""
    got = ours(ExpectedGradients(n_samples=4000), NETS["nested"])
    torch.manual_seed(0)
    parts = [captums(captum.attr.GradientShap, NETS["nested"], baselines=B, n_samples=300) for _ in range(20)]
    want, error = np.mean(parts, axis=0), np.std(parts, axis=0, ddof=1) / np.sqrt(20)
    assert error.max() < 0.02 * np.abs(want).max()
    assert (np.abs(got.values - want) < 4.5 * np.hypot(got.error, error) + 1e-6).all()
