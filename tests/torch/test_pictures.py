"""Pictures and sequences on torch; Grad-CAM beside captum's."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import skexplain
from skexplain.attributions import GradCAM
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor
from skexplain.torch._network import torch_network
from tests.pictures_contract import FEATURES, SIDE, STEPS, PicturesContract

X = np.random.default_rng(0).normal(size=(7, 3, 12, 8)).astype(np.float32)


def picture_net():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)),
    )


class SequenceNet(nn.Sequential):
    """Reads steps before features, as recurrent layers do."""

    def __init__(self):
        super().__init__(nn.Conv1d(FEATURES, 6, 1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(6, 1))

    def forward(self, x):
        return super().forward(x.transpose(1, 2))


class TestTorch(PicturesContract):
    picture, sequence, window = (1, SIDE, SIDE), (STEPS, FEATURES), (1, 2, 2)
    adam = {"optimizer": torch.optim.Adam, "lr": 0.03, "batch_size": 32, "train_split": None, "random_state": 0}

    def classifier(self, **params):
        params = {"input_shape": self.picture, "max_epochs": 20} | params
        return NeuralNetClassifier(picture_net, **self.adam, **params)

    def regressor(self, **params):
        return NeuralNetRegressor(SequenceNet, input_shape=self.sequence, max_epochs=20, **self.adam, **params)

    def default(self, **params):
        return NeuralNetClassifier(max_epochs=2, **params)


def two_convolutions():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(inplace=True)),
        *(nn.Flatten(), nn.Linear(6 * 4 * 2, 3)),
    ).eval()


def cam(net, rows=X, target=1, **params):
    """Grad-CAM of a logit, summed over the channels."""
    values = skexplain.explain(net, rows, attribution=GradCAM(**params), output="logit", target=target).values
    return values.reshape(rows.shape).sum(axis=1)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("layer", "position"), [(None, 3), ("3", 3), ("0", 0), ("2", 2)])
def test_equals_captum(relu, layer, position):
    attr = pytest.importorskip("captum.attr")
    net = two_convolutions()
    for target in range(3):
        maps = attr.LayerGradCam(net, net[position]).attribute(torch.tensor(X), target=target, relu_attributions=relu)
        expected = attr.LayerAttribution.interpolate(maps, X.shape[2:], "bilinear")[:, 0].detach().numpy()
        got = cam(net, target=target, layer=layer, relu=relu)
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max() + 1e-12)


def test_equals_captum_along_time():
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2), nn.ReLU(), nn.Conv1d(4, 3, 2), nn.Flatten(), nn.Linear(15, 2)
    ).eval()
    rows = X.reshape(-1, 2, 14)
    maps = attr.LayerGradCam(net, net[2]).attribute(torch.tensor(rows), target=0, relu_attributions=True)
    expected = attr.LayerAttribution.interpolate(maps, 14, "linear")[:, 0].detach().numpy()
    np.testing.assert_allclose(cam(net, rows, 0), expected, atol=1e-5 * expected.max())


class Projected(nn.Module):
    """Makes other features of those of each step, in front of a convolution over the steps."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.steps, self.conv, self.out = nn.Linear(3, 8), nn.Conv1d(8, 4, 1), nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.conv(self.steps(x).transpose(1, 2)).relu().mean(2))


def test_maps_lie_along_the_steps_whatever_their_features_become():
    rows = X[:, 0, :5, :3]
    values = skexplain.explain(Projected(), rows, attribution="gradcam").values.reshape(rows.shape)
    assert np.ptp(values, axis=2).max() == 0
    assert np.ptp(values, axis=1).max() > 0


class Functional(nn.Module):
    """The same network without a module for what it does."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        x = F.max_pool2d(torch.relu_(F.conv2d(x, self.net[0].weight, self.net[0].bias)), 2)
        x = F.conv2d(input=x, weight=self.net[3].weight, bias=self.net[3].bias).relu_()
        F.conv2d(x, torch.ones(1, 6, 1, 1))  # nothing comes of it
        return self.net[6](x.flatten(1))


class ChannelsLast(nn.Sequential):
    def forward(self, x):
        return super().forward(x.movedim(-1, 1))


def test_spellings_give_the_same():
    net = two_convolutions()
    expected = cam(net)
    np.testing.assert_allclose(cam(Functional(net)), expected, atol=1e-7)
    frozen = copy.deepcopy(net).requires_grad_(False)
    np.testing.assert_allclose(cam(frozen), expected, atol=1e-7)
    last = skexplain.explain(
        ChannelsLast(*net), X.transpose(0, 2, 3, 1), attribution="gradcam", output="logit", target=1
    ).values.reshape(7, 12, 8, 3)
    np.testing.assert_allclose(last.sum(axis=-1), expected, atol=1e-7)


def test_scale_that_is_asked_for():
    net = two_convolutions()
    logits = [cam(net, target=k, relu=False) for k in range(3)]
    margin = skexplain.explain(net, X, attribution=GradCAM(relu=False), target=1).values.reshape(X.shape).sum(axis=1)
    np.testing.assert_allclose(margin, logits[1] - (logits[0] + logits[2]) / 2, atol=1e-7)
    contrast = skexplain.explain(
        net, X, attribution=GradCAM(relu=False), output="logit", target=lambda out: out[:, 2] - out[:, 0]
    ).values
    np.testing.assert_allclose(contrast.reshape(X.shape).sum(axis=1), logits[2] - logits[0], atol=1e-7)
    with pytest.raises(ValueError, match="sizes without a sign"):
        skexplain.explain(net, X, attribution=GradCAM(), target=lambda out: out[:, 2] - out[:, 0])


class Everything(nn.Module):
    """What it returns cannot be a map."""

    def __init__(self):
        super().__init__()
        self.conv, self.unused, self.rnn = nn.Conv1d(1, 4, 3), nn.Conv1d(1, 4, 3), nn.GRU(4, 2)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        places = self.conv(x.reshape(-1, 1, 4)).mean(2).reshape(len(x), -1, 4)
        return self.out(self.rnn(places)[0].flatten(1))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("nope", r"layer='nope' is not a layer of the network; its layers are \['conv', 'unused', 'rnn', 'out'\]"),
        ("out", r"Layer 'out' gives numbers of shape \(7, 2\) for 7 rows, which are not maps"),
        ("unused", "The output does not depend on a tensor that layer 'unused' returns"),
        ("rnn", "The output does not depend on a tensor that layer 'rnn' returns"),
        (None, r"shape \(14, 4, 2\) for 7 rows, which are not maps"),
    ],
)
def test_layers_without_maps(layer, message):
    error = ValueError if layer == "nope" else skexplain.UnsupportedModelError
    with pytest.raises(error, match=message):
        skexplain.explain(Everything(), X[:, 0, 0], attribution=GradCAM(layer=layer))


def test_no_convolution():
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(
        skexplain.UnsupportedModelError, match="the output of this network depends on none that is seen"
    ):
        skexplain.explain(net, X[:, 0, 0], attribution="gradcam")


def test_maps_of_a_single_place_say_nothing_of_where():
    """The last convolution sees pooled channels only, as in squeeze-and-excitation."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1), nn.Flatten())
    with pytest.raises(skexplain.UnsupportedModelError, match=r"last convolution have a single place.*layer="):
        skexplain.explain(net, X, attribution="gradcam")
    with pytest.raises(skexplain.UnsupportedModelError, match="layer '2' have a single place"):
        skexplain.explain(net, X, attribution=GradCAM(layer="2"))
    assert cam(net, layer="0").shape == (7, 12, 8)


def test_pictures_cut_out_of_flat_rows():
    net = nn.Sequential(nn.Unflatten(1, (1, 12, 8)), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(120, 2))
    with pytest.raises(skexplain.UnsupportedModelError, match=r"rows of shape \(96,\) have no such axes.*input_shape="):
        skexplain.explain(net, X[:, 0].reshape(7, 96), attribution="gradcam")
    channels = nn.Sequential(nn.Unflatten(1, (2, 48)), nn.Conv1d(2, 2, 3), nn.Flatten(), nn.Linear(92, 2))
    with pytest.raises(skexplain.UnsupportedModelError, match=r"rows of shape \(96,\) have no such axes"):
        skexplain.explain(channels, X[:, 0].reshape(7, 96), attribution="gradcam")


@pytest.mark.parametrize("layer", [None, "0", "6"])
def test_no_trace(layer):
    net = two_convolutions().train()
    before = copy.deepcopy(net.state_dict()), [dict(vars(m)) for m in net.modules()]
    grad, state = torch.is_grad_enabled(), torch.random.get_rng_state()
    network = torch_network(net, X)
    for _ in range(2):
        try:
            network.activations(X, layer, np.zeros(7, int))
        except skexplain.UnsupportedModelError:
            assert layer == "6"
    assert all(torch.equal(v, before[0][k]) for k, v in net.state_dict().items())
    assert [dict(vars(m)) for m in net.modules()] == before[1]
    assert not any(m._forward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())
    assert torch.is_grad_enabled() == grad
    assert torch.equal(torch.random.get_rng_state(), state)
