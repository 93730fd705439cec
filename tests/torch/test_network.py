"""TorchNetwork: fast verbs equal the plain ones, and the module is left as it was."""

import copy

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from torch import nn

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._network import Network
from skexplain.attributions._completeness import gauss_legendre
from skexplain.exceptions import UnsupportedModelError
from skexplain.torch._network import TorchNetwork, torch_network
from tests.torch.nets import CodeNet, D, crooked, straight

NETS = straight() | crooked()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, D))
R = RNG.normal(size=(40, D))


def network(name, output="margin", dtype=torch.float64):
    return torch_network(copy.deepcopy(NETS[name]).to(dtype), X, output=output)


def targets(net):
    return RNG.integers(net.n_outputs, size=len(X))


@pytest.mark.parametrize("output", ["margin", "logit", "probability"])
@pytest.mark.parametrize("name", NETS)
def test_gradient_is_the_slope_of_predict(name, output):
    net, h = network(name, output), 1e-6
    t = targets(net)
    g = net.gradient(X, t)
    assert g.shape == X.shape
    assert g.dtype == np.float64
    for j in range(D):
        step = np.zeros(D)
        step[j] = h
        slope = (net.predict(X + step) - net.predict(X - step))[np.arange(len(X)), t] / (2 * h)
        smooth = np.abs(slope - g[:, j]) < 1e-5 * max(1, np.abs(g).max())
        assert smooth.mean() > 0.95  # a kink of ReLU may lie in between


@pytest.mark.parametrize("name", NETS)
def test_mean_gradient_equals_the_plain_verb(name):
    net = network(name)
    t = targets(net)
    nodes, weights = np.array([0.1, 0.4, 0.9]), np.array([0.2, 0.5, 0.3])
    for start in (R, R[:1]):
        plain = Network.mean_gradient(net, start, X, nodes, weights, t)
        np.testing.assert_allclose(net.mean_gradient(start, X, nodes, weights, t), plain, rtol=1e-9, atol=1e-12)
    per_row = RNG.random((3, len(X)))
    plain = Network.mean_gradient(net, R, X, per_row, weights, t)
    np.testing.assert_allclose(net.mean_gradient(R, X, per_row, weights, t), plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_predict_replaced_equals_the_plain_verb(name):
    net = network(name)
    groups = [np.array([0]), np.array([2, 5]), np.array([1])]
    every = np.array(np.meshgrid(*[[False, True]] * 3)).reshape(3, -1).T
    for coalitions in (every, np.eye(3, dtype=bool), np.zeros((1, 3), dtype=bool)):
        plain = Network.predict_replaced(net, X, R, groups, coalitions)
        fast = net.predict_replaced(X, R, groups, coalitions)
        assert fast.shape == (len(coalitions), len(X), net.n_outputs)
        np.testing.assert_allclose(fast, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_predict_coalitions_equals_the_plain_verb(name, dense):
    net = network(name)
    if not dense:
        net.__dict__["_dense"] = None
    for groups in ([np.array([0, 3]), np.array([2, 5]), np.array([1, 4])], [np.array([0]), np.array([4])]):
        for x, r, shape in ((X, R, (40,)), (X[:4, None, None], R[None, :5, None], (4, 1, 3))):
            S = np.random.default_rng(1).random((*shape, len(groups))) < 0.5
            plain = Network.predict_coalitions(net, x, r, groups, S)
            fast = net.predict_coalitions(x, r, groups, S)
            np.testing.assert_allclose(fast, plain, rtol=1e-9, atol=1e-12)


def test_agrees_with_the_numpy_network():
    module = NETS["relu"]
    weights = [module[0].weight, module[2].weight]
    biases = [module[0].bias, module[2].bias]
    net = network("relu", dtype=torch.float32)
    dense = DenseNetwork(
        [w.detach().numpy().T for w in weights], [b.detach().numpy() for b in biases], "relu", net.head, net.classes
    )
    t = targets(net)
    np.testing.assert_allclose(net.predict(X), dense.predict(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.gradient(X, t), dense.gradient(X, t), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "batchnorm", "softmax", "residual", "convolution", "lstm"])
def test_integrated_gradients_agree_with_captum(name):
    """The same nodes, so that the quadrature's own error is the same on both sides."""
    module = copy.deepcopy(NETS[name]).double().eval()
    logits = nn.Sequential(*module[:-1]) if name == "softmax" else module
    x, base = torch.as_tensor(X), torch.as_tensor(R[:1])
    theirs = CaptumIntegratedGradients(logits).attribute(x, base, target=1, n_steps=64).numpy()
    nodes, weights = gauss_legendre(64)
    ours = (X - R[:1]) * network(name, "logit").mean_gradient(R[:1], X, nodes, weights, np.ones(len(X), int))
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", sorted(NETS.keys() - {"gate"}))
def test_integrated_gradients_are_complete(name):
    module = copy.deepcopy(NETS[name])
    exp = skexplain.explain(module, X, attribution="integrated_gradients", target="all")
    gap = np.abs(exp.values.sum(axis=1) + exp.base_values - exp.predictions)
    assert (gap <= 1.2e-3 * exp.predictions.std(axis=0) + 1e-5).all()


@pytest.mark.parametrize("head", ["sigmoid", "softmax", "logits", "log_softmax"])
def test_heads_agree(head):
    """One sigmoid unit with weights w and two softmax units with -w/2, w/2 are the same classifier."""
    torch.manual_seed(0)
    body, last = nn.Sequential(nn.Linear(D, 8), nn.ReLU()), nn.Linear(8, 1)
    pair = nn.Linear(8, 2)
    with torch.no_grad():
        pair.weight.copy_(torch.cat([-last.weight, last.weight]) / 2)
        pair.bias.copy_(torch.cat([-last.bias, last.bias]) / 2)
    reference = skexplain.explain(nn.Sequential(body, last, nn.Sigmoid()), X, background=R, random_state=0)
    module = {
        "sigmoid": nn.Sequential(body, last, nn.Sigmoid(), nn.Flatten(0)),
        "softmax": nn.Sequential(body, pair, nn.Softmax(1)),
        "logits": nn.Sequential(body, pair),
        "log_softmax": nn.Sequential(body, pair, nn.LogSoftmax(1)),
    }[head]
    got = skexplain.explain(module, X, background=R, random_state=0)
    np.testing.assert_allclose(got.values, reference.values, rtol=1e-3, atol=1e-4)


def test_large_logits_do_not_vanish():
    module = copy.deepcopy(NETS["softmax"])
    with torch.no_grad():
        module[2].weight.mul_(100)
        module[2].bias.mul_(100)
    size = np.abs(skexplain.explain(module, X, random_state=0).values).sum(axis=1)
    assert (size > 0).all()


def snapshot(module):
    return (
        {k: v.clone() for k, v in module.state_dict().items()},
        {name: m.training for name, m in module.named_modules()},
        {name: (p.requires_grad, p.grad) for name, p in module.named_parameters()},
        [(len(m._forward_hooks), len(m._backward_hooks), len(m._forward_pre_hooks)) for m in module.modules()],
        [sorted(vars(m)) for m in module.modules()],
        torch.random.get_rng_state(),
        np.random.get_state()[1].copy(),
    )


def assert_same(a, b):
    assert a[0].keys() == b[0].keys()
    assert all(torch.equal(a[0][k], b[0][k]) for k in a[0])
    assert a[1:5] == b[1:5]
    assert torch.equal(a[5], b[5])
    assert (a[6] == b[6]).all()


@pytest.mark.parametrize("name", ["batchnorm", "dropout", "lstm", "softmax"])
@pytest.mark.parametrize("attribution", ["expected_gradients", "integrated_gradients", "saliency", "permutation"])
def test_no_trace(name, attribution):
    module = copy.deepcopy(NETS[name]).train()
    module[0].eval() if isinstance(module, nn.Sequential) else None
    before = snapshot(module)
    skexplain.importances(module, X, RNG.integers(3, size=len(X)), attribution=attribution)
    assert_same(before, snapshot(module))


def test_no_trace_after_an_exception():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.out, self.calls = nn.BatchNorm1d(D), nn.Linear(D, 2), [0]

        def forward(self, x):
            self.calls[0] += 1
            if self.calls[0] > 12:
                raise ZeroDivisionError
            return self.out(self.norm(x) * self.norm(x))

    module = Fails().train()
    before = snapshot(module)
    with pytest.raises(ZeroDivisionError):
        skexplain.explain(module, X)
    assert_same(before, snapshot(module))
    torch.manual_seed(0)
    other = nn.Linear(2, 1)  # an unrelated model still trains
    loss = other(torch.ones(3, 2)).sum()
    loss.backward()
    assert other.weight.grad is not None


@pytest.mark.parametrize("attribution", ["expected_gradients", "integrated_gradients", "saliency"])
def test_a_cut_gradient_is_refused(attribution):
    class Rounded(nn.Linear):
        def forward(self, x):
            return super().forward(x.round())

    with pytest.raises(skexplain.CompletenessError, match="attribution='permutation'"):
        skexplain.explain(Rounded(3, 2), 3 * X[:, :3], attribution=attribution)


def test_a_jump_is_refused():
    with pytest.raises(skexplain.CompletenessError, match="a step"):
        skexplain.explain(NETS["gate"], X, attribution="integrated_gradients")


def test_permutation_sees_what_a_cut_gradient_hides():
    torch.manual_seed(0)
    x = X[:, :3].astype(np.float32)
    x[:, 0] = RNG.integers(4, size=len(x))
    module = CodeNet()
    y = module(torch.as_tensor(x)).argmax(1).numpy()
    assert skexplain.importances(module, x, y, attribution="permutation", random_state=0).ranking[0] == 0


def test_row_does_not_depend_on_its_batch():
    net = NETS["batchnorm"]
    whole = skexplain.explain(net, X, background=R, random_state=0)
    order = RNG.permutation(len(X))
    np.testing.assert_allclose(
        skexplain.explain(net, X[order], background=R, random_state=0).values, whole.values[order], rtol=1e-4, atol=1e-5
    )
    alone = skexplain.explain(net, X[7:8], background=R, random_state=0)
    np.testing.assert_allclose(alone.values, whole.values[7:8], rtol=1e-4, atol=1e-5)


def test_a_case_that_few_rows_show():
    """The input is looked at again after the first layer, though not by the first rows."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, D)).astype(np.float32)
    Z[100:200, 0] = -999
    module = NETS["code for missing"]
    y = module(torch.as_tensor(Z)).detach().numpy() + rng.normal(size=(300, 1))
    net = torch_network(module, Z, regression=True)
    strategy = skexplain.attributions.Permutation(n_repeats=3)
    got, _ = strategy.importances(net, Z, y, [np.array([0]), np.array([1])], np.random.default_rng(0))
    plain = NoShortcut(net)
    expected, _ = strategy.importances(plain, Z, y, [np.array([0]), np.array([1])], np.random.default_rng(0))
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert got[0] > 1


class NoShortcut(Network):
    """A network by its plain verbs."""

    def __init__(self, net):
        self.net, self.head, self.classes = net, net.head, net.classes

    def raw(self, X):
        return self.net.raw(X)

    def gradient(self, X, target):
        return self.net.gradient(X, target)


def sigmoid_in_disguise():
    last = nn.Linear(D, 1)

    def net(ending):
        class Ending(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = last

            def forward(self, x):
                return ending(self.last(x))

        return Ending()

    return {
        "1 - sigmoid(-z)": net(lambda z: 1 - torch.sigmoid(-z)),
        "expit": net(torch.special.expit),
        "in place": net(lambda z: (z + 0).sigmoid_()),
        "by hand": net(lambda z: 1 / (1 + torch.exp(-z))),
        "exp of logsigmoid": net(lambda z: nn.functional.logsigmoid(z).exp()),
        "one of softmax": net(lambda z: torch.cat([0 * z, z], 1).softmax(1)[:, 1]),
        "script": torch.jit.script(nn.Sequential(last, nn.Sigmoid())),
    }, last


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit
@pytest.mark.parametrize(
    "name", ["1 - sigmoid(-z)", "expit", "in place", "by hand", "exp of logsigmoid", "one of softmax", "script"]
)
def test_sigmoid_in_disguise(name):
    modules, last = sigmoid_in_disguise()
    module, x = modules[name], torch.as_tensor(X).float()
    y = (last(x) > 0).numpy()[:, 0]
    est = skexplain.from_fitted(module, X, y, random_state=0)
    np.testing.assert_allclose(est.predict_proba(X)[:, 1], module(x).detach().numpy().ravel(), atol=1e-5)
    logits = est.explain(X, background=R).predictions
    np.testing.assert_allclose(np.abs(logits), np.abs(last(x).detach().numpy()[:, 0]), rtol=1e-3, atol=1e-4)


def test_probabilities_of_nothing_known_are_refused():
    class PartOfSoftmax(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(D, 4)

        def forward(self, x):
            return self.last(x).softmax(1)[:, 1:]

    with pytest.raises(skexplain.UnsupportedModelError, match="3 numbers between 0 and 1 a row, that do not sum to 1"):
        skexplain.explain(PartOfSoftmax(), X)


def test_hidden_sigmoids_are_no_ending():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(D, 8), nn.Sigmoid(), nn.Linear(8, 1))
    assert torch_network(module, X).head.kind == "linear"


def test_reassigned_buffers_are_put_back():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(D, 2)
            self.register_buffer("n", torch.zeros(()))

        def forward(self, x):
            self.n = self.n + 1
            return self.last(x)

    module = Counts()
    before = module.n
    skexplain.explain(module, X, random_state=0)
    assert module.n is before
    assert module.n == 0


def test_inference_mode_and_half_precision():
    with torch.inference_mode():
        got = skexplain.explain(NETS["relu"], X, background=R, random_state=0)
    np.testing.assert_array_equal(got.values, skexplain.explain(NETS["relu"], X, background=R, random_state=0).values)
    with pytest.raises(skexplain.UnsupportedModelError, match=r"too coarse to explain; pass a copy in `.float\(\)`"):
        skexplain.explain(copy.deepcopy(NETS["relu"]).half(), X)


def test_long_rows_run_in_smaller_blocks():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4000, 2)

        def forward(self, x):
            seen.append(x.shape[0] * 4000)
            return self.last(torch.tanh(x).flatten(1))

    rows = np.random.default_rng(0).normal(size=(600, 1, 4000)).astype(np.float32)
    strategy = skexplain.attributions.ExpectedGradients(n_samples=10)
    skexplain.importances(Spy(), rows, attribution=strategy, random_state=0)
    assert max(seen) <= 2**21


def test_unreadable_rows_and_outputs():
    with pytest.raises(ValueError, match=r"cannot read rows of shape \(5,\)"):
        skexplain.explain(NETS["relu"], X[:, :5])
    with pytest.raises(skexplain.UnsupportedModelError, match="must return a tensor"):
        skexplain.explain(ReturnsDict(), X)
    with pytest.raises(ValueError, match="classes has 2 labels"):
        skexplain.from_fitted(NETS["relu"], X, classes=["a", "b"])


class ReturnsDict(nn.Module):
    def forward(self, x):
        return {"out": x}


def test_verbs_are_overridden():
    """The comparisons above would be empty if the fast paths were gone."""
    assert TorchNetwork.mean_gradient is not Network.mean_gradient
    assert TorchNetwork.predict_replaced is not Network.predict_replaced


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(D, track_running_stats=False), Noisy()], ids=["statistics of the batch", "noise"]
)
def test_rows_that_depend_on_others_are_refused(layer):
    rows = np.random.default_rng(0).normal(size=(20, D)).astype(np.float32)
    with pytest.raises(UnsupportedModelError, match="depends on the other rows, or on chance"):
        torch_network(nn.Sequential(layer, nn.Linear(D, 2)), rows)


def test_a_product_behind_saturated_sigmoids_is_no_probability():
    module = nn.Sequential(nn.Linear(D, 4), nn.Sigmoid(), nn.Linear(4, 2))
    with torch.no_grad():
        module[2].weight.copy_(torch.full((2, 4), 0.1))
        module[2].bias.fill_(0.3)  # between 0.3 and 0.7, whatever the row
    network = torch_network(module, X, y=np.arange(len(X)) % 2)
    assert network.head.kind == "softmax"
    np.testing.assert_allclose(network.raw(X), module(torch.as_tensor(X).float()).detach().numpy(), rtol=1e-6)


class Cut(nn.Module):
    """What it computes from a row has no gradient, or another one."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.how = nn.Linear(D, 8), nn.Linear(8, 1), how

    def forward(self, x):
        return self.last(torch.relu(self.first(self.how(x))))


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return -g


@pytest.mark.parametrize("attribution", ["expected_gradients", "integrated_gradients"])
@pytest.mark.parametrize("how", [lambda x: x.data, Reversed.apply], ids=["cut", "reversed"])
def test_a_gradient_that_is_not_the_functions_is_refused(how, attribution):
    """The shortcut through the first layer does not go round it."""
    with pytest.raises(skexplain.CompletenessError):
        skexplain.explain(Cut(how).eval(), X[:6], background=X, attribution=attribution)
