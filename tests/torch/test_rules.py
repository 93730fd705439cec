"""Backward rules against other libraries where these are right, and against what the rules say where they are not."""

import sys
import types
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._network import Network
from skexplain._propagation import Rescale
from skexplain._wrap import as_network
from skexplain.attributions import LRP, DeepLIFT, DeepSHAP
from skexplain.exceptions import UnsupportedLayerError

from .nets import D, stack

RNG = np.random.default_rng(0)
X, B = (RNG.normal(size=(n, D)).astype(np.float64) for n in (30, 8))
TARGET = np.arange(30) % 3


def network(module, output="logit"):
    """The network of a double-precision copy in evaluation mode."""
    return as_network(module.double().eval(), X, output=output)


def attribute(strategy, module, target=TARGET, **options):
    return strategy.attribute(network(module, **options), X, B, target, np.random.default_rng(0)).values


def mlp(activation=nn.ReLU, bias=True):
    return stack(nn.Linear(D, 8, bias), activation(), nn.Linear(8, 8, bias), activation(), nn.Linear(8, 3, bias))


def cnn(pool=True):
    return stack(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 4, 2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2),
        nn.ReLU(),
        nn.AvgPool2d((1, 3)) if pool else nn.Identity(),
        nn.Flatten(),
        nn.Linear(8 if pool else 24, 3),
    )


def t(a):
    return torch.as_tensor(a)


class TestDeepLIFT:
    @pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.Sigmoid, nn.Softplus, nn.LeakyReLU])
    def test_captum(self, activation):
        from captum.attr import DeepLift

        net, b = mlp(activation).double(), B.mean(axis=0, keepdims=True)
        with warnings.catch_warnings(action="ignore"):
            expected = DeepLift(net).attribute(t(X), t(b), target=t(TARGET))
        np.testing.assert_allclose(attribute(DeepLIFT(), net), expected.detach(), rtol=1e-5, atol=1e-9)

    def test_captum_with_a_convolution(self):
        from captum.attr import DeepLift

        net, b = cnn().double(), B.mean(axis=0, keepdims=True)
        with warnings.catch_warnings(action="ignore"):
            expected = DeepLift(net).attribute(t(X), t(b), target=t(TARGET))
        np.testing.assert_allclose(attribute(DeepLIFT(), net), expected.detach(), rtol=1e-5, atol=1e-9)

    def test_captum_over_a_background(self):
        from captum.attr import DeepLiftShap

        net = mlp().double()
        with warnings.catch_warnings(action="ignore"):
            expected = DeepLiftShap(net).attribute(t(X), t(B), target=t(TARGET))
        np.testing.assert_allclose(attribute(DeepSHAP(), net), expected.detach(), rtol=1e-5, atol=1e-9)

    @pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.SELU, nn.Tanh])
    def test_shap(self, activation):
        net = mlp(activation).double()
        with warnings.catch_warnings(action="ignore"):
            import shap

            everything = shap.DeepExplainer(net, t(B)).shap_values(t(X))
        expected = everything[np.arange(30), :, TARGET]
        np.testing.assert_allclose(attribute(DeepSHAP(), net), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "body",
        [
            lambda net, x: net.b(F.relu(net.a(x))),
            lambda net, x: net.b(net.a(x) * torch.sigmoid(net.a(x))),
            lambda net, x: net.b(F.layer_norm(net.a(x), (3,))),
            lambda net, x: net.b(torch.softmax(net.a(x), 1)),
        ],
        ids=["functional relu", "silu by hand", "layer_norm", "softmax inside"],
    )
    def test_where_captum_is_wrong(self, body):
        """What captum returns does not add up; what we return does."""
        from captum.attr import DeepLift

        net = Body(body).double()
        b = B.mean(axis=0, keepdims=True)
        with warnings.catch_warnings(action="ignore"):
            theirs = DeepLift(net).attribute(t(X), t(b), target=0).detach().numpy()
        ours = attribute(DeepLIFT(), net, np.zeros(30, int))
        delta = (net(t(X)) - net(t(b)))[:, 0].detach().numpy()
        assert np.abs(ours.sum(axis=1) - delta).max() < 1e-9 * delta.std()
        assert np.abs(theirs.sum(axis=1) - delta).max() > 1e-2 * delta.std()

    def test_of_a_product_is_the_shapley_value_of_two_players(self):
        net = Body(lambda net, x: (x[:, :1] * x[:, 1:2]).expand(-1, 3) + 0 * net.a(x))
        got, b = attribute(DeepLIFT(baseline="zero"), net), np.zeros(2)
        np.testing.assert_allclose(got[:, 0], (X[:, 0] - b[0]) * (X[:, 1] + b[1]) / 2, atol=1e-12)
        np.testing.assert_allclose(got[:, 2:], 0, atol=1e-12)

    @pytest.mark.parametrize("pick", [lambda x: x.amax(1), lambda x: x.max(1).values, lambda x: -(-x).min(1)[0]])
    def test_of_a_maximum_is_the_share_of_the_way(self, pick):
        net = Body(lambda net, x: pick(x)[:, None].expand(-1, 3) + 0 * net.a(x))
        got, b = attribute(DeepLIFT(), net), B.mean(axis=0)
        way = np.linspace(0, 1, 20001)[:, None, None]
        winner = (b + way * (X - b)).argmax(axis=2)
        share = (winner[:, :, None] == np.arange(D)).mean(axis=0)
        np.testing.assert_allclose(got, share * (X - b), atol=5e-4)

    def test_tied_columns_share_a_maximum(self):
        net = Body(lambda net, x: x[:, [0, 0, 1]].amax(1, keepdim=True).expand(-1, 3) + 0 * net.a(x))
        once = Body(lambda net, x: x[:, [0, 1]].amax(1, keepdim=True).expand(-1, 3) + 0 * net.a(x))
        np.testing.assert_allclose(attribute(DeepLIFT(), net), attribute(DeepLIFT(), once), atol=1e-12)

    def test_softmax_ignores_a_constant_added_to_the_logits(self):
        one = Body(lambda net, x: net.b(torch.softmax(net.a(x), 1)))
        other = Body(lambda net, x: net.b(torch.softmax(net.a(x) + 50 * x[:, :1] - 50 * x[:, :1], 1)))
        np.testing.assert_allclose(attribute(DeepLIFT(), one), attribute(DeepLIFT(), other), atol=1e-10)

    def test_far_apart_softmax_adds_up(self):
        net = Body(lambda net, x: net.b(torch.softmax(300 * net.a(x), 1)))
        got, out = attribute(DeepLIFT(), net), network(net).predict(np.concatenate([X, B.mean(axis=0, keepdims=True)]))
        np.testing.assert_allclose(got.sum(axis=1), (out[:-1] - out[-1])[np.arange(30), TARGET], atol=1e-9)

    def test_integer_look_up_is_seen(self):
        table = torch.tensor([0.0, 5.0, -3.0, 8.0])
        net = Body(lambda net, x: table[x[:, 0].abs().long().clamp(max=3)][:, None].expand(-1, 3) + 0 * net.a(x))
        got = attribute(DeepLIFT(baseline="zero"), net, np.zeros(30, int))
        codes = np.minimum(np.abs(X[:, 0]).astype(int), 3)
        np.testing.assert_allclose(got[:, 0], table.numpy()[codes], atol=1e-9)

    def test_probabilities_add_up_too(self):
        net = stack(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1))
        b = B.mean(axis=0, keepdims=True)
        got = attribute(DeepLIFT(), net, output="probability")
        p = net.double()(t(np.concatenate([X, b]))).detach().numpy()
        np.testing.assert_allclose(got.sum(axis=1), (p[:-1] - p[-1])[np.arange(30), TARGET], atol=1e-9)

    def test_float32_and_large_columns(self):
        net = stack(nn.Linear(D, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)).float().eval()
        rows = X.astype(np.float32)
        got = DeepLIFT().attribute(as_network(net, rows), rows, B.astype(np.float32), TARGET, None)
        assert got.gap < 1e-5

    def test_baseline_of_many_rows_is_refused(self):
        with pytest.raises(ValueError, match="deepshap"):
            attribute(DeepLIFT(baseline="background"), mlp())


class Body(nn.Module):
    """A function of two dense layers and rows."""

    def __init__(self, body):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.body = nn.Linear(D, 3), nn.Linear(3, 3), body

    def forward(self, x):
        return self.body(self, x)


@pytest.fixture(scope="module")
def zennit():
    """zennit, whose import of torchvision is of no use here."""
    names = ["torchvision", "torchvision.models", "torchvision.models.resnet"]
    before = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules[names[-1]].Bottleneck = sys.modules[names[-1]].BasicBlock = type("Block", (nn.Module,), {})
    try:
        import zennit
        import zennit.composites
        import zennit.rules
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return zennit


def relevance(zennit, net, composite, canonizers=()):
    """zennit's relevance of the target's output."""
    from zennit.core import Composite

    net = net.double().eval()
    if not isinstance(composite, Composite):
        rule, cls = composite, (nn.Linear, nn.Conv2d)
        composite = zennit.composites.LayerMapComposite([(zennit.types.Activation, zennit.rules.Pass()), (cls, rule)])
    composite.canonizers = list(canonizers)
    x = t(X).clone().requires_grad_()
    with composite.context(net) as ruled:
        out = ruled(x)
        (got,) = torch.autograd.grad(out, x, out.detach() * torch.eye(3, dtype=out.dtype)[TARGET])
    return got.numpy()


class TestLRP:
    @pytest.mark.parametrize("build", [mlp, lambda: cnn(pool=False)], ids=["mlp", "cnn"])
    @pytest.mark.parametrize("name", ["epsilon", "gamma", "alpha_beta", "z_plus"])
    def test_zennit(self, zennit, build, name):
        rules = zennit.rules
        theirs = {
            "epsilon": lambda: rules.Epsilon(epsilon=1e-9),
            "gamma": lambda: rules.Gamma(gamma=0.25, stabilizer=1e-9),
            "alpha_beta": lambda: rules.AlphaBeta(alpha=2, beta=1, stabilizer=1e-9),
            "z_plus": lambda: rules.ZPlus(stabilizer=1e-9),
        }[name]()
        net = build()
        expected = relevance(zennit, net, theirs)
        np.testing.assert_allclose(attribute(LRP(rule=name), net), expected, rtol=1e-5, atol=1e-9)

    @pytest.mark.parametrize("name", ["z_box", "w_square", "flat"])
    def test_zennit_at_the_input(self, zennit, name):
        rules, net = zennit.rules, mlp()
        low, high = t(B.min(axis=0, keepdims=True)) - 3, t(B.max(axis=0, keepdims=True)) + 3
        first = {
            "z_box": lambda: rules.ZBox(low=low, high=high, stabilizer=1e-9),
            "w_square": lambda: rules.WSquare(stabilizer=1e-9, zero_params="bias"),
            "flat": lambda: rules.Flat(stabilizer=1e-9, zero_params="bias"),
        }[name]()
        composite = zennit.composites.SpecialFirstLayerMapComposite(
            layer_map=[(zennit.types.Activation, rules.Pass()), (nn.Linear, rules.Epsilon(1e-9))],
            first_map=[(nn.Linear, first)],
        )
        box = {"low": low.numpy()[0], "high": high.numpy()[0]} if name == "z_box" else {}
        expected = relevance(zennit, net, composite)
        np.testing.assert_allclose(attribute(LRP(rule=name, **box), net), expected, rtol=1e-5, atol=1e-9)

    @pytest.mark.parametrize("name", ["epsilon_plus", "epsilon_gamma_box", "epsilon_alpha2_beta1"])
    def test_zennit_composites(self, zennit, name):
        composites, net = zennit.composites, cnn()
        low, high = t(np.full((1, 1, 2, 3), -9.0)), t(np.full((1, 1, 2, 3), 9.0))
        theirs = {
            "epsilon_plus": lambda: composites.EpsilonPlus(epsilon=1e-9, stabilizer=1e-9),
            "epsilon_gamma_box": lambda: composites.EpsilonGammaBox(low, high, epsilon=1e-9, stabilizer=1e-9),
            "epsilon_alpha2_beta1": lambda: composites.EpsilonAlpha2Beta1(epsilon=1e-9, stabilizer=1e-9),
        }[name]()
        box = {"low": -9.0, "high": 9.0} if "box" in name else {}
        expected = relevance(zennit, net, theirs)
        np.testing.assert_allclose(attribute(LRP(rule=name, **box), net), expected, rtol=1e-5, atol=1e-8)

    @pytest.mark.parametrize("name", ["epsilon", "gamma", "alpha_beta", "z_plus"])
    def test_batch_normalisation_is_folded_as_zennit_does(self, zennit, name):
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(8, eps=1e-12)  # zennit leaves it in once more
        for tensor, low in (
            (norm.running_mean, -1),
            (norm.running_var, 0.5),
            (norm.weight.data, -1),
            (norm.bias.data, -1),
        ):
            tensor.uniform_(low, 1)
        net = nn.Sequential(nn.Linear(D, 8), norm, nn.ReLU(), nn.Linear(8, 3))
        rules = zennit.rules
        theirs = {
            "epsilon": lambda: rules.Epsilon(epsilon=1e-9),
            "gamma": lambda: rules.Gamma(gamma=0.25, stabilizer=1e-9),
            "alpha_beta": lambda: rules.AlphaBeta(alpha=2, beta=1, stabilizer=1e-9),
            "z_plus": lambda: rules.ZPlus(stabilizer=1e-9),
        }[name]()
        from zennit.canonizers import SequentialMergeBatchNorm

        expected = relevance(zennit, net, theirs, [SequentialMergeBatchNorm()])
        np.testing.assert_allclose(attribute(LRP(rule=name), net), expected, rtol=1e-5, atol=1e-8)

    @pytest.mark.parametrize("bias", [False, True])
    def test_captum_epsilon(self, bias):
        from captum.attr import LRP as CAPTUM_LRP

        net = mlp(bias=bias).double()
        with warnings.catch_warnings(action="ignore"):
            expected = CAPTUM_LRP(net).attribute(t(X), target=t(TARGET)).detach()
        np.testing.assert_allclose(attribute(LRP(rule="epsilon"), net), expected, rtol=1e-5, atol=1e-8)

    def test_captum_gamma(self):
        """For positive inputs and sums, which is what captum's form is for."""
        from captum.attr import LRP as CAPTUM_LRP
        from captum.attr._utils.lrp_rules import GammaRule

        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(D, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
        with torch.no_grad():
            net[2].weight.abs_()
        for layer in (net[0], net[2]):
            layer.rule = GammaRule(gamma=0.25)
        rows = np.abs(X)
        with warnings.catch_warnings(action="ignore"):
            expected = CAPTUM_LRP(net).attribute(t(rows), target=t(TARGET)).detach()
        ours = LRP().set_params(rule="gamma").attribute(network(net), rows, B, TARGET, None).values
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-8)

    def test_epsilon_is_input_times_gradient_on_relus(self):
        """Exactly, without an epsilon: with one, sums next to 0 are as much too small as it is beside them."""
        net = mlp()
        x_grad = X * network(net).gradient(X, TARGET)
        np.testing.assert_allclose(attribute(LRP(rule="epsilon", epsilon=0), net), x_grad, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("rule", ["epsilon", "gamma", "w_square", "flat", "z_box"])
    def test_is_conserved_without_biases(self, rule):
        net = mlp(bias=False)
        got = LRP(rule=rule).attribute(network(net), X, B, TARGET, None)
        assert got.gap < 1e-6

    def test_biases_absorb_their_share(self):
        net = stack(nn.Linear(D, 3)).double()
        got = attribute(LRP(rule="epsilon"), net)
        logits = net(t(X)).detach().numpy()[np.arange(30), TARGET]
        np.testing.assert_allclose(logits - got.sum(axis=1), net[0].bias.detach().numpy()[TARGET], atol=1e-6)

    def test_normalisations_and_gates_take_nothing(self):
        """Without biases LayerNorm, gates, products, softmax-weighted sums and residual sums hand on all they got."""
        nets = {
            "LayerNorm": lambda net, x: F.layer_norm(x, (D,))[:, :3] * 2,
            "gate": lambda net, x: torch.sigmoid(x[:, :3]) * x[:, 3:],
            "product": lambda net, x: x[:, :3] * x[:, 3:],
            "residual": lambda net, x: x[:, :3] + torch.relu(x[:, 3:]),
            "matmul": lambda net, x: (x[:, :2, None] @ x[:, None, 2:4]).flatten(1)[:, :3],
            "attention": lambda net, x: (torch.softmax(x[:, :3, None] * x[:, None, :3], -1) @ x[:, 3:, None])[:, :, 0],
        }
        for name, body in nets.items():
            got = LRP(rule="epsilon").attribute(network(Body(body)), X, B, TARGET, None)
            if name != "attention":  # the expansion of softmax at 0 has a constant term
                assert got.gap < 1e-6, name

    def test_rows_outside_the_box_are_refused(self):
        with pytest.raises(ValueError, match=r"low=0 does not bound the rows: row 0 has"):
            attribute(LRP(rule="z_box", low=0, high=9), mlp())
        with pytest.raises(ValueError, match="high has shape"):
            attribute(LRP(rule="z_box", high=np.ones(4)), mlp())
        assert np.isfinite(attribute(LRP(rule="z_box"), mlp())).all()  # the background's range, stretched

    @pytest.mark.parametrize(("parameters", "message"), [({"rule": "lrp"}, "Unknown rule"), ({"alpha": 0.5}, "alpha")])
    def test_bad_parameters(self, parameters, message):
        with pytest.raises(ValueError, match=message):
            attribute(LRP(**parameters), mlp())

    def test_probabilities_are_refused(self):
        net = stack(nn.Linear(D, 3), nn.Softmax(1))
        with pytest.raises(ValueError, match="output='margin'"):
            attribute(LRP(), net, output="probability")


RULES = [DeepLIFT(), DeepSHAP(), *(LRP(rule=r) for r in ("epsilon", "gamma", "alpha_beta", "z_plus", "z_box", "flat"))]


@pytest.mark.parametrize("strategy", RULES, ids=str)
@pytest.mark.parametrize("output", ["margin", "logit"])
def test_torch_agrees_with_the_numpy_network(strategy, output):
    net = mlp(nn.Tanh).double()
    layers = [m for m in net if isinstance(m, nn.Linear)]
    weights = [m.weight.detach().numpy().T for m in layers]
    torch_net = network(net, output)
    dense = DenseNetwork(weights, [m.bias.detach().numpy() for m in layers], "tanh", torch_net.head)
    np.testing.assert_allclose(
        strategy.attribute(torch_net, X, B, TARGET, None).values,
        strategy.attribute(dense, X, B, TARGET, None).values,
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize("strategy", RULES[:3], ids=str)
@pytest.mark.parametrize(
    ("body", "what"),
    [
        (lambda net, x: net.b(torch.cumprod(net.a(x), 1)), "cumprod"),
        (lambda net, x: net.b(net.a(x)) if x.abs().sum() > 0 else net.b(-net.a(x)), "branch"),
        (lambda net, x: net.b(torch.sort(net.a(x), 1).values), "sort"),
    ],
    ids=["cumprod", "branch", "sort"],
)
def test_what_no_rule_knows_is_refused_by_name(strategy, body, what):
    net = Body(body)
    before = {k: v.clone() for k, v in net.double().state_dict().items()}
    with pytest.raises(UnsupportedLayerError, match=what) as caught:
        attribute(strategy, net)
    assert "integrated_gradients" in caught.value.alternatives
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.is_available() == torch._C._get_mkldnn_enabled()


def test_a_bias_added_later_is_the_layers_own():
    """Dense layers on sequences are a product, a change of shape and a sum in some spellings, one call in others."""
    torch.manual_seed(0)
    W, b = torch.randn(4, 2), torch.randn(4)
    nets = [
        Body(lambda net, x: F.linear(x.view(-1, 3, 2), W.to(x), b.to(x)).relu().mean(1)[:, :3]),
        Body(lambda net, x: (x.view(-1, 3, 2) @ W.T.to(x) + b.to(x)).relu().mean(1)[:, :3]),
        Body(lambda net, x: ((x.view(-1, 3, 2) @ (W.T.to(x) / 2)) * 2 + b.to(x)).relu().mean(1)[:, :3]),
    ]
    for rule in ("epsilon", "gamma", "alpha_beta"):
        first, *others = [attribute(LRP(rule=rule), net) for net in nets]
        for other in others:
            np.testing.assert_allclose(other, first, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "build",
    [
        lambda: mlp(nn.Tanh),
        lambda: stack(
            nn.BatchNorm1d(D), nn.Linear(D, 8), nn.BatchNorm1d(8), nn.PReLU(8), nn.Flatten(), nn.Linear(8, 3)
        ),
        lambda: stack(nn.Linear(D, 8), nn.LayerNorm(8), nn.Linear(8, 3)),
        lambda: Body(lambda net, x: net.b(torch.relu(net.a(x)) + net.a(x))),
        cnn,
    ],
    ids=["dense", "scales", "layer norm", "residual", "convolution"],
)
@pytest.mark.parametrize("output", ["margin", "probability"])
def test_many_references_are_their_mean(build, output):
    """The plain definition runs each pair; a stack of layers is run once a row and once a reference."""
    net, rule = network(nn.Sequential(build(), nn.Softmax(1)), output), Rescale("deepshap")
    rows = np.concatenate([X, B[:3]])  # some of which are references themselves
    target = np.arange(len(rows)) % 3
    fast = net.mean_propagate(rows, B, rule, target)
    each = [net.propagate(rows, B[k : k + 1], rule, target) for k in range(len(B))]
    np.testing.assert_allclose(fast, np.mean(each, axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fast, Network.mean_propagate(net, rows, B, rule, target), rtol=1e-9, atol=1e-12)


class Squarer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


def written(net, x):
    y = torch.zeros(len(x), 3, dtype=x.dtype)
    y[:, :2] = net.a(x)[:, :2].tanh()
    y[:, 2:] = x[:, 2:3]
    return net.b(y)


def attended(net, x, low, mask):
    scores = x[:, :3, None] * x[:, None, :3]
    return net.b((torch.softmax(scores.masked_fill(mask, low), -1) @ x[:, 3:, None])[:, :, 0])


HARD = {
    "written into slices": written,
    "logsigmoid": lambda net, x: net.b(F.logsigmoid(net.a(x))),
    "two truths": lambda net, x: net.b(net.a(x) * ((net.a(x) > -1) & (net.a(x) < 1))),
    "either of two truths": lambda net, x: net.b(net.a(x) * ((net.a(x) > 1) | (net.a(x) < 0))),
    "logsumexp": lambda net, x: net.b(net.a(x) + net.a(x).logsumexp(1, keepdim=True)),
    "logsumexp of the masked": lambda net, x: net.b(
        net.a(x) + net.a(x).masked_fill(torch.tensor([True, False, False]), -torch.inf).logsumexp(1)[:, None]
    ),
    "logaddexp": lambda net, x: net.b(torch.logaddexp(net.a(x), -net.a(x))),
    "log_softmax": lambda net, x: net.b(F.log_softmax(net.a(x), 1)),
    "normalised zeros": lambda net, x: net.b(
        F.normalize(torch.stack([x[:, :3], 0 * x[:, 3:]], 1), dim=2).flatten(1)[:, 1:4]
    ),
    "mask of minus infinity": lambda net, x: attended(net, x, -torch.inf, torch.eye(3, dtype=torch.bool)),
    "mask of the lowest number": lambda net, x: attended(net, x, torch.finfo(x.dtype).min, torch.eye(3) > 0),
    "mask that the rows decide": lambda net, x: attended(
        net, x, -torch.inf, (x[:, None, :3] > 0.5).expand(-1, 3, -1) & ~torch.eye(3).bool()
    ),
    "table in double": lambda net, x: net.b(torch.eye(4, 3, dtype=x.dtype)[x[:, 0].abs().long().clamp(max=3)]),
    "index_add": lambda net, x: net.b(
        torch.zeros(len(x), 3, dtype=x.dtype).index_add(1, torch.tensor([0, 1, 2, 0, 1, 2]), x)
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_networks(name):
    """What took an adversary to find: right, or refused by name; never wrong."""
    net = Body(HARD[name])
    for strategy in (DeepLIFT(), DeepSHAP()):
        attribute(strategy, net)  # raises where it does not add up
    got = LRP(rule="epsilon").attribute(network(net), X, B, TARGET, None)
    assert np.abs(got.values).max() < 1e3


@pytest.mark.parametrize("strategy", RULES[:3], ids=str)
@pytest.mark.parametrize(
    "body",
    [
        lambda net, x: net.b(torch.from_numpy(np.tanh(net.a(x).detach().numpy()))),
        lambda net, x: net.b(torch.from_numpy(np.tanh(net.a(x).detach().numpy())) + net.a(x)),
        lambda net, x: net.b(Squarer.apply(net.a(x))),
        lambda net, x: net.b((1 + net.a(x).abs()) ** net.a(x)),
        lambda net, x: net.b(F.pad(net.a(x)[:, None], (1, 1), mode="circular")[:, 0, 1:4]),
        lambda net, x: net.b(net.a(x) * ((net.a(x) > 0) ^ (net.a(x) < 1))),
    ],
    ids=["out of torch", "partly out of torch", "own function", "power", "circular padding", "exclusive or"],
)
def test_what_cannot_be_seen_is_refused(strategy, body):
    with pytest.raises(UnsupportedLayerError):
        attribute(strategy, Body(body))


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "z_plus"])
def test_spellings_of_a_layer_for_lrp(rule):
    torch.manual_seed(0)
    W, c = torch.randn(3, D, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    layers = [
        lambda x: F.linear(x, W, c),
        lambda x: x @ W.T + c,
        lambda x: (W @ x.T).T + c,
        lambda x: (x[:, None, :] @ W.T)[:, 0] + c,
        lambda x: torch.einsum("ij,nj->ni", W, x) + c,
    ]
    first, *others = [attribute(LRP(rule=rule), Body(lambda net, x, f=f: net.b(f(x).relu()))) for f in layers]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("strategy", [DeepLIFT(baseline="mean"), DeepSHAP(), LRP()], ids=str)
def test_a_row_that_is_the_only_reference(strategy):
    """What it gets is 0 to rounding, of which nothing needs to add up."""
    rows = X.astype(np.float32)
    got = skexplain.explain(mlp().float(), rows, background=rows[:1], attribution=strategy, target=0)
    if strategy.complete:
        np.testing.assert_allclose(got.values[0], 0, atol=1e-6)
    assert np.abs(got.values[1:]).max() > 0.1


def test_weights_that_cannot_be_read_are_refused_by_lrp():
    W = torch.randn(2, 3, 3, dtype=torch.float64)
    net = Body(lambda net, x: net.b(torch.bmm(x.view(-1, 2, 3).transpose(0, 1), W).sum(0)))
    attribute(DeepLIFT(), net)
    with pytest.raises(UnsupportedLayerError, match="weights of the operation 'bmm'"):
        attribute(LRP(), net)


def test_a_condition_takes_no_relevance():
    bodies = [
        lambda net, x: net.b(torch.where(x[:, :3] > 0, net.a(x), -1000.0)),
        lambda net, x: net.b(torch.where(x[:, :3] <= 0, -1000.0, net.a(x))),
        lambda net, x: net.b(net.a(x).masked_fill(x[:, :3] <= 0, -1000.0)),
    ]
    first, *others = [attribute(LRP(), Body(body)) for body in bodies]
    assert np.abs(first).max() < 1e4
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-9, atol=1e-12)


class Padded(nn.Module):
    """Attention over steps, of which those that are zero do not count."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.last = nn.Linear(2, 4), nn.Linear(12, 3)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        steps = x.view(-1, 3, 2)
        mask = (steps == 0).all(-1)
        return self.last((self.attention(self.embed(steps), src_key_padding_mask=mask) * ~mask[:, :, None]).flatten(1))


def test_padded_sequences():
    """Padding that differs between a row and its reference; equal padding is as good as a shorter sequence."""
    net = network(Padded())
    rows, references = X.copy(), B.copy()
    rows[::2, 4:] = references[:3, 4:] = 0
    for strategy in (DeepLIFT(baseline=references[0]), DeepSHAP()):
        got = strategy.attribute(net, rows, references, TARGET, None)
        assert got.gap < 1e-5
    alike = DeepSHAP().attribute(net, rows[::2], references[:3], TARGET[::2], None).values
    np.testing.assert_allclose(alike[:, 4:], 0, atol=1e-9)
    assert np.isfinite(LRP().attribute(net, rows, references, TARGET, None).values).all()


def test_what_a_module_keeps_is_put_back():
    class Keeps(Body):
        def forward(self, x):
            if getattr(self, "last", None) is None or len(self.last) != len(x):
                self.last = x * 2
            return self.b(self.a(x)) + 0 * self.last[:, :3]

    net = Keeps(None).double()
    attribute(DeepLIFT(), net)
    assert not hasattr(net, "last")


def test_threads():
    """Modes of the process and of the module are those of before, whoever comes last."""
    from sklearn.utils.parallel import Parallel, delayed

    net = stack(nn.Linear(D, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    modes = lambda: (torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled(), net.training)  # noqa: E731
    before = modes()

    def one(k):
        name = "saliency" if k % 2 else "deeplift"
        return skexplain.explain(net, X, attribution=name, background=B, random_state=0).values

    results = Parallel(4, backend="threading")(delayed(one)(k) for k in range(16))
    for k, got in enumerate(results):
        np.testing.assert_array_equal(got, results[k % 2])
    assert modes() == before
