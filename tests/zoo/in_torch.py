"""The zoo in torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from . import NAMES, D, training_data

H = 8
Spellings = dict[str, nn.Module]


class Net(nn.Module):
    """A function of layers and input."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def written(layers: dict[str, nn.Module], **functions: Any) -> Spellings:
    """A network for each way of using the layers, all with the same weights; modules as they are."""
    return {
        name.replace("_", " "): f if isinstance(f, nn.Module) else Net(f, **layers) for name, f in functions.items()
    }


def mlp(first: nn.Module, second: nn.Module, **functions: Callable[[Tensor], Tensor]) -> Spellings:
    """A perceptron with two hidden layers and an activation in several spellings."""
    a, b, out = nn.Linear(D, H), nn.Linear(H, H), nn.Linear(H, 3)

    def dense(f: Callable, g: Callable) -> Callable:
        return lambda net, x: net.out(g(net.b(f(net.a(x)))))

    return written(
        {"a": a, "b": b, "out": out},
        modules=Net(lambda n, x: n.out(n.g(n.b(n.f(n.a(x))))), a=a, b=b, out=out, f=first, g=second),
        sequential=nn.Sequential(a, first, nn.Sequential(b, second), out),
        **{name: dense(f, f) for name, f in functions.items()},
    )


def activation(kind: type[nn.Module], *args: Any, **functions: Callable[[Tensor], Tensor]) -> Spellings:
    """An activation without weights: distinct modules, one module twice, a subclass, and functions."""
    subclass = type("Own" + kind.__name__, (kind,), {})
    return mlp(kind(*args), kind(*args), one_module=kind(*args), subclass=subclass(*args), **functions)


def relu() -> Spellings:
    return activation(
        nn.ReLU,
        functional=F.relu,
        torch=torch.relu,
        method=lambda h: h.relu(),
        in_place=nn.ReLU(inplace=True),
        in_place_method=lambda h: h.relu_(),
        clamp=lambda h: h.clamp(min=0),
        maximum=lambda h: torch.maximum(h, torch.zeros_like(h)),
    )


def gelu() -> Spellings:
    by_hand = lambda h: 0.5 * h * (1 + torch.erf(h / math.sqrt(2)))  # noqa: E731
    return activation(nn.GELU, functional=F.gelu, by_hand=by_hand)


def gelu_tanh() -> Spellings:
    by_hand = lambda h: 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))  # noqa: E731
    return activation(nn.GELU, "tanh", functional=lambda h: F.gelu(h, approximate="tanh"), by_hand=by_hand)


def silu() -> Spellings:
    by_hand = lambda h: h * torch.sigmoid(h)  # noqa: E731
    return activation(nn.SiLU, functional=F.silu, in_place=nn.SiLU(inplace=True), by_hand=by_hand)


def prelu() -> Spellings:
    first, second = nn.PReLU(H, 0.2), nn.PReLU(H, 0.1)
    nets = mlp(first, second)
    layers = {name: getattr(nets["modules"], name) for name in ("a", "b", "out")}
    slopes = {"f": first, "g": second}
    return nets | {
        "functional": Net(
            lambda n, x: n.out(F.prelu(n.b(F.prelu(n.a(x), n.f.weight)), n.g.weight)), **layers, **slopes
        ),
    }


def leaky_relu() -> Spellings:
    by_hand = lambda h: torch.maximum(h, 0.1 * h)  # noqa: E731
    return activation(nn.LeakyReLU, 0.1, functional=lambda h: F.leaky_relu(h, 0.1), by_hand=by_hand)


def elu() -> Spellings:
    return activation(nn.ELU, functional=F.elu, in_place=nn.ELU(inplace=True))


def selu() -> Spellings:
    return activation(nn.SELU, functional=F.selu, torch=torch.selu)


def softplus() -> Spellings:
    return activation(nn.Softplus, functional=F.softplus, by_hand=lambda h: torch.log1p(torch.exp(h)))


def tanh() -> Spellings:
    return activation(nn.Tanh, functional=F.tanh, torch=torch.tanh, method=lambda h: h.tanh())


def sigmoid() -> Spellings:
    return activation(
        nn.Sigmoid,
        functional=F.sigmoid,
        torch=torch.sigmoid,
        method=lambda h: h.sigmoid(),
        by_hand=lambda h: 1 / (1 + torch.exp(-h)),
    )


def exp() -> Spellings:
    layers = {"a": nn.Linear(D, H), "out": nn.Linear(H, 3)}
    return written(
        layers,
        torch=lambda n, x: n.out(torch.exp(0.5 * n.a(x))),
        method=lambda n, x: n.out((n.a(x) / 2).exp()),
    )


def linear() -> Spellings:
    """Only the products with weights are written in several ways."""
    a, b, out = nn.Linear(D, H), nn.Linear(H, H), nn.Linear(H, 3)

    def dense(product: Callable[[Tensor, nn.Linear], Tensor]) -> Callable:
        return lambda n, x: product(torch.tanh(product(torch.tanh(product(x, n.a)), n.b)), n.out)

    return written(
        {"a": a, "b": b, "out": out},
        modules=dense(lambda x, layer: layer(x)),
        sequential=nn.Sequential(a, nn.Tanh(), b, nn.Tanh(), out),
        functional=dense(lambda x, layer: F.linear(x, layer.weight, layer.bias)),
        operator=dense(lambda x, layer: x @ layer.weight.T + layer.bias),
        matmul=dense(lambda x, layer: torch.matmul(x, layer.weight.t()) + layer.bias),
        addmm=dense(lambda x, layer: torch.addmm(layer.bias, x, layer.weight.T)),
        einsum=dense(lambda x, layer: torch.einsum("ni,oi->no", x, layer.weight) + layer.bias),
        sum=dense(lambda x, layer: (x[:, None] * layer.weight).sum(2) + layer.bias),
    )


def layer_norm() -> Spellings:
    layers = {"a": nn.Linear(D, H), "norm": nn.LayerNorm(H, eps=1e-3), "out": nn.Linear(H, 3)}

    def by_hand(n: Any, x: Tensor) -> Tensor:
        h = n.a(x)
        centred = h - h.mean(1, keepdim=True)
        h = centred / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-3)
        return n.out(F.relu(h * n.norm.weight + n.norm.bias))

    return written(
        layers,
        modules=lambda n, x: n.out(F.relu(n.norm(n.a(x)))),
        sequential=nn.Sequential(layers["a"], layers["norm"], nn.ReLU(), layers["out"]),
        functional=lambda n, x: n.out(F.relu(F.layer_norm(n.a(x), (H,), n.norm.weight, n.norm.bias, 1e-3))),
        by_hand=by_hand,
    )


def _normalised(n: Any, h: Tensor) -> Tensor:
    return F.batch_norm(h, n.norm.running_mean, n.norm.running_var, n.norm.weight, n.norm.bias, False, 0.1, 1e-3)


def _normalised_by_hand(n: Any, h: Tensor) -> Tensor:
    scale = n.norm.weight / torch.sqrt(n.norm.running_var + 1e-3)
    return (h - n.norm.running_mean) * scale + n.norm.bias


def batch_norm_first() -> Spellings:
    layers = {"norm": nn.BatchNorm1d(D, eps=1e-3), "a": nn.Linear(D, H), "out": nn.Linear(H, 3)}
    return written(
        layers,
        modules=lambda n, x: n.out(F.relu(n.a(n.norm(x)))),
        sequential=nn.Sequential(layers["norm"], layers["a"], nn.ReLU(), layers["out"]),
        functional=lambda n, x: n.out(F.relu(n.a(_normalised(n, x)))),
        by_hand=lambda n, x: n.out(F.relu(n.a(_normalised_by_hand(n, x)))),
    )


def batch_norm() -> Spellings:
    layers = {"a": nn.Linear(D, H), "norm": nn.BatchNorm1d(H, eps=1e-3), "out": nn.Linear(H, 3)}
    return written(
        layers,
        modules=lambda n, x: n.out(F.relu(n.norm(n.a(x)))),
        sequential=nn.Sequential(layers["a"], layers["norm"], nn.ReLU(), layers["out"]),
        functional=lambda n, x: n.out(F.relu(_normalised(n, n.a(x)))),
        by_hand=lambda n, x: n.out(F.relu(_normalised_by_hand(n, n.a(x)))),
    )


def dropout() -> Spellings:
    layers = {"a": nn.Linear(D, H), "drop": nn.Dropout(0.2), "out": nn.Linear(H, 3)}
    return written(
        layers,
        modules=lambda n, x: n.out(n.drop(F.relu(n.a(n.drop(x))))),
        sequential=nn.Sequential(nn.Dropout(0.2), layers["a"], nn.ReLU(), layers["drop"], layers["out"]),
        functional=lambda n, x: n.out(F.dropout(F.relu(n.a(x)), 0.2, n.training)),
        without=lambda n, x: n.out(F.relu(n.a(x))),
    )


def embedding() -> Spellings:
    layers = {"code": nn.Embedding(4, 3), "a": nn.Linear(D + 2, H), "out": nn.Linear(H, 3)}

    def with_code(n: Any, code: Tensor, x: Tensor) -> Tensor:
        return n.out(F.relu(n.a(torch.cat([code, x[:, 1:]], 1))))

    return written(
        layers,
        module=lambda n, x: with_code(n, n.code(x[:, 0].long()), x),
        functional=lambda n, x: with_code(n, F.embedding(x[:, 0].to(torch.int64), n.code.weight), x),
        index=lambda n, x: with_code(n, n.code.weight[x[:, 0].int()], x),
    )


def conv1d() -> Spellings:
    layers = {"a": nn.Conv1d(1, 4, 3), "out": nn.Linear(16, 3)}
    return written(
        layers,
        module=lambda n, x: n.out(F.relu(n.a(x.view(-1, 1, D))).flatten(1)),
        sequential=nn.Sequential(nn.Unflatten(1, (1, D)), layers["a"], nn.ReLU(), nn.Flatten(), layers["out"]),
        functional=lambda n, x: n.out(F.relu(F.conv1d(x[:, None], n.a.weight, n.a.bias)).flatten(1)),
    )


def conv2d() -> Spellings:
    layers = {"a": nn.Conv2d(1, 4, (1, 2)), "out": nn.Linear(16, 3)}
    return written(
        layers,
        module=lambda n, x: n.out(F.relu(n.a(x.reshape(-1, 1, 2, 3))).flatten(1)),
        sequential=nn.Sequential(nn.Unflatten(1, (1, 2, 3)), layers["a"], nn.ReLU(), nn.Flatten(), layers["out"]),
        functional=lambda n, x: n.out(F.relu(F.conv2d(x.view(-1, 1, 2, 3), n.a.weight, n.a.bias)).flatten(1)),
    )


def max_pool1d() -> Spellings:
    layers = {"a": nn.Conv1d(1, 4, 3), "pool": nn.MaxPool1d(2), "out": nn.Linear(8, 3)}
    return written(
        layers,
        module=lambda n, x: n.out(n.pool(F.relu(n.a(x[:, None]))).flatten(1)),
        functional=lambda n, x: n.out(F.max_pool1d(F.relu(n.a(x[:, None])), 2).flatten(1)),
        amax=lambda n, x: n.out(F.relu(n.a(x[:, None])).unflatten(2, (2, 2)).amax(3).flatten(1)),
    )


def max_pool2d() -> Spellings:
    layers = {"a": nn.Conv2d(1, 4, (1, 2)), "pool": nn.MaxPool2d((2, 1)), "out": nn.Linear(8, 3)}
    return written(
        layers,
        module=lambda n, x: n.out(n.pool(n.a(x.view(-1, 1, 2, 3))).flatten(1)),
        functional=lambda n, x: n.out(F.max_pool2d(n.a(x.view(-1, 1, 2, 3)), (2, 1)).flatten(1)),
        max=lambda n, x: n.out(n.a(x.view(-1, 1, 2, 3)).max(2).values.flatten(1)),
    )


def average_pool() -> Spellings:
    layers = {"a": nn.Conv1d(1, 4, 3), "pool": nn.AvgPool1d(2), "out": nn.Linear(8, 3)}
    return written(
        layers,
        module=lambda n, x: n.out(n.pool(F.relu(n.a(x[:, None]))).flatten(1)),
        functional=lambda n, x: n.out(F.avg_pool1d(F.relu(n.a(x[:, None])), 2).flatten(1)),
        mean=lambda n, x: n.out(F.relu(n.a(x[:, None])).unflatten(2, (2, 2)).mean(3).flatten(1)),
    )


def lstm() -> Spellings:
    layers = {"a": nn.LSTM(2, 4, batch_first=True), "out": nn.Linear(4, 3)}

    def by_hand(n: Any, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 4)
        for x_t in x.view(-1, 3, 2).unbind(1):
            z = F.linear(x_t, n.a.weight_ih_l0, n.a.bias_ih_l0) + F.linear(h, n.a.weight_hh_l0, n.a.bias_hh_l0)
            i, f, g, o = z.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return n.out(h)

    return written(layers, module=lambda n, x: n.out(n.a(x.view(-1, 3, 2))[0][:, -1]), by_hand=by_hand)


def gru() -> Spellings:
    layers = {"a": nn.GRU(2, 4, batch_first=True), "out": nn.Linear(4, 3)}

    def by_hand(n: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 4)
        for x_t in x.view(-1, 3, 2).unbind(1):
            r, z, m = F.linear(x_t, n.a.weight_ih_l0, n.a.bias_ih_l0).chunk(3, 1)
            s, u, k = F.linear(h, n.a.weight_hh_l0, n.a.bias_hh_l0).chunk(3, 1)
            z, m = torch.sigmoid(z + u), torch.tanh(m + torch.sigmoid(r + s) * k)
            h = (1 - z) * m + z * h
        return n.out(h)

    return written(layers, module=lambda n, x: n.out(n.a(x.view(-1, 3, 2))[0][:, -1]), by_hand=by_hand)


def attention() -> Spellings:
    first = nn.MultiheadAttention(4, 2, batch_first=True)
    second = nn.MultiheadAttention(4, 2)
    for name, parameter in first.named_parameters(recurse=False):  # the same weights, the other order of axes
        setattr(second, name, parameter)
    second.out_proj = first.out_proj
    layers = {"a": nn.Linear(2, 4), "look": first, "turned": second, "out": nn.Linear(12, 3)}

    def tokens(n: Any, x: Tensor) -> Tensor:
        return n.a(x.view(-1, 3, 2))

    def batch_first(n: Any, x: Tensor) -> Tensor:
        h = tokens(n, x)
        return n.out(n.look(h, h, h)[0].flatten(1))

    def without_weights(n: Any, x: Tensor) -> Tensor:
        h = tokens(n, x)
        return n.out(n.look(h, h, h, need_weights=False)[0].flatten(1))

    def batch_second(n: Any, x: Tensor) -> Tensor:
        h = tokens(n, x).transpose(0, 1)
        return n.out(n.turned(h, h, h)[0].transpose(0, 1).flatten(1))

    def heads(n: Any, x: Tensor) -> list[Tensor]:
        """Queries, keys and values, ``(n, heads, tokens, features)``."""
        qkv = F.linear(tokens(n, x), n.look.in_proj_weight, n.look.in_proj_bias)
        return [part.unflatten(2, (2, 2)).transpose(1, 2) for part in qkv.chunk(3, 2)]

    def functional(n: Any, x: Tensor) -> Tensor:
        mixed = F.scaled_dot_product_attention(*heads(n, x))
        return n.out(n.look.out_proj(mixed.transpose(1, 2).flatten(2)).flatten(1))

    def by_hand(n: Any, x: Tensor) -> Tensor:
        q, k, v = heads(n, x)
        mixed = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(2), 3) @ v
        return n.out(n.look.out_proj(mixed.transpose(1, 2).flatten(2)).flatten(1))

    return written(
        layers,
        batch_first=batch_first,
        without_weights=without_weights,
        batch_second=batch_second,
        functional=functional,
        by_hand=by_hand,
    )


def residual() -> Spellings:
    layers = {"a": nn.Linear(D, H), "b": nn.Linear(H, H), "out": nn.Linear(H, 3)}

    def in_place(n: Any, x: Tensor) -> Tensor:
        h = n.a(x)
        total = h.clone()
        total += F.relu(n.b(h))
        return n.out(total)

    return written(
        layers,
        operator=lambda n, x: n.out((h := n.a(x)) + F.relu(n.b(h))),
        torch=lambda n, x: n.out(torch.add(h := n.a(x), F.relu(n.b(h)))),
        in_place=in_place,
    )


def gate() -> Spellings:
    layers = {"a": nn.Linear(D, H), "b": nn.Linear(D, H), "out": nn.Linear(H, 3)}
    return written(
        layers,
        operator=lambda n, x: n.out(n.a(x) * torch.sigmoid(n.b(x))),
        torch=lambda n, x: n.out(torch.mul(n.a(x), n.b(x).sigmoid())),
        glu=lambda n, x: n.out(F.glu(torch.cat([n.a(x), n.b(x)], 1))),
    )


def product() -> Spellings:
    layers = {"a": nn.Linear(D, H), "b": nn.Linear(D, H), "out": nn.Linear(H, 3)}
    return written(
        layers,
        operator=lambda n, x: n.out(F.relu(n.a(x)) * torch.tanh(n.b(x))),
        torch=lambda n, x: n.out(torch.mul(F.relu(n.a(x)), torch.tanh(n.b(x)))),
    )


def square() -> Spellings:
    layers = {"a": nn.Linear(D, H), "out": nn.Linear(H, 3)}
    return written(
        layers,
        operator=lambda n, x: n.out(n.a(x) ** 2),
        product=lambda n, x: n.out((h := n.a(x)) * h),
        square=lambda n, x: n.out(torch.square(n.a(x))),
        method=lambda n, x: n.out(n.a(x).pow(2)),
        torch=lambda n, x: n.out(torch.pow(n.a(x), 2)),
    )


def softmax() -> Spellings:
    layers = {"a": nn.Linear(D, H), "out": nn.Linear(H, 3)}

    def by_hand(n: Any, x: Tensor) -> Tensor:
        e = torch.exp(n.a(x))
        return n.out(e / e.sum(1, keepdim=True))

    return written(
        layers,
        functional=lambda n, x: n.out(F.softmax(n.a(x), 1)),
        sequential=nn.Sequential(layers["a"], nn.Softmax(1), layers["out"]),
        torch=lambda n, x: n.out(torch.softmax(n.a(x), dim=1)),
        method=lambda n, x: n.out(n.a(x).softmax(-1)),
        by_hand=by_hand,
    )


def one_number() -> Spellings:
    layers = {"a": nn.Linear(D, H), "out": nn.Linear(H, 1)}
    return written(
        layers,
        index=lambda n, x: n.out(F.relu(n.a(x)))[:, 0],
        squeeze=lambda n, x: n.out(F.relu(n.a(x))).squeeze(1),
        flatten=lambda n, x: n.out(F.relu(n.a(x))).flatten(),
    )


def concatenation() -> Spellings:
    layers = {"a": nn.Linear(D, H), "out": nn.Linear(2 * H + D, 3)}
    return written(
        layers,
        cat=lambda n, x: n.out(torch.cat([F.relu(h := n.a(x)), torch.tanh(h), x], 1)),
        hstack=lambda n, x: n.out(torch.hstack([F.relu(h := n.a(x)), torch.tanh(h), x])),
    )


@cache
def nets() -> dict[str, Spellings]:
    return {name: _trained(globals()[name.replace(" ", "_")]) for name in NAMES}


def _trained(family: Callable[[], Spellings], steps: int = 60) -> Spellings:
    """The spellings share their layers, so the first is trained for all."""
    X, classes, numbers = (torch.as_tensor(v) for v in training_data())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spellings = family()
        net = next(iter(spellings.values())).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
        for _ in range(steps):
            optimizer.zero_grad()
            out = net(X)
            loss = F.mse_loss(out, numbers) if out.ndim == 1 else F.cross_entropy(out, classes)
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()
    return {name: module.eval() for name, module in spellings.items()}


def outputs(module: nn.Module, X: NDArray) -> NDArray:
    """What the module itself says."""
    with torch.no_grad():
        return module(torch.as_tensor(X)).double().numpy()


def multiplied(name: str, factor: float) -> nn.Module:
    """A network of the zoo with larger or smaller outputs."""
    net = copy.deepcopy(next(iter(nets()[name].values())))
    with torch.no_grad():
        net.out.weight *= factor
        net.out.bias *= factor
    return net


def snapshot(module: nn.Module) -> dict[str, Any]:
    """All that a strategy must leave as it was."""
    return {
        "state": {k: v.numpy().tobytes() for k, v in module.state_dict().items()},
        "training": {k: m.training for k, m in module.named_modules()},
        "requires_grad": {k: p.requires_grad for k, p in module.named_parameters()},
        "grad": {k: None if p.grad is None else p.grad.numpy().tobytes() for k, p in module.named_parameters()},
        "hooks": {k: [len(h) for a, h in vars(m).items() if a.endswith("hooks")] for k, m in module.named_modules()},
        "attributes": {k: sorted(vars(m)) for k, m in module.named_modules()},
        "forward": {k: vars(m).get("forward") for k, m in module.named_modules()},
    }


class BreakError(Exception):
    """What a network raises in the middle."""


def breaking(calls: int) -> nn.Module:
    """A network, in training mode, that can be run so many times."""
    left = [calls]

    def function(n: Any, x: Tensor) -> Tensor:
        h = n.drop(F.relu(n.norm(n.a(x))))
        left[0] -= 1
        if left[0] < 0:
            raise BreakError
        return n.out(h)

    parts = {"a": nn.Linear(D, H), "norm": nn.BatchNorm1d(H), "drop": nn.Dropout(), "out": nn.Linear(H, 3)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(function, **parts).train()


def learns() -> bool:
    """Whether a fresh, unrelated network still trains in this process."""
    X, classes, _ = (torch.as_tensor(v) for v in training_data())
    net = nn.Sequential(nn.Linear(D, H), nn.BatchNorm1d(H), nn.ReLU(), nn.Linear(H, 3))
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=0.05), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X), classes)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[-1] < 0.9 * losses[0]


def draw() -> list[float]:
    """Numbers from the global generator."""
    return torch.rand(3).tolist()


def seed() -> None:
    torch.manual_seed(5)


def numbers(module: nn.Module) -> list[NDArray]:
    """Weights in the layout and order of Keras' layer of the same kind."""
    w = {name: v.detach().numpy() for name, v in module.state_dict().items()}
    match module:
        case nn.Linear():
            return [w["weight"].T, w["bias"]]
        case nn.Conv1d():
            return [w["weight"].transpose(2, 1, 0), w["bias"]]
        case nn.Conv2d():
            return [w["weight"].transpose(2, 3, 1, 0), w["bias"]]
        case nn.BatchNorm1d():
            return [w["weight"], w["bias"], w["running_mean"], w["running_var"]]
        case nn.LSTM():
            return [w["weight_ih_l0"].T, w["weight_hh_l0"].T, w["bias_ih_l0"] + w["bias_hh_l0"]]
        case nn.GRU():  # gates r, z, n; Keras has z, r, n
            order = np.r_[4:8, :4, 8:12]
            kernels = [w[f"weight_{kind}_l0"].T[:, order] for kind in ("ih", "hh")]
            return [*kernels, np.stack([w["bias_ih_l0"][order], w["bias_hh_l0"][order]])]
        case nn.MultiheadAttention():
            kernels = [part.T.reshape(4, 2, 2) for part in np.split(w["in_proj_weight"], 3)]
            biases = [part.reshape(2, 2) for part in np.split(w["in_proj_bias"], 3)]
            # Keras: query, key, value, each kernel and bias
            mixed = [v for pair in zip(kernels, biases, strict=True) for v in pair]
            return [*mixed, w["out_proj.weight"].T.reshape(2, 2, 4), w["out_proj.bias"]]
        case _:  # LayerNorm, Embedding, PReLU
            return list(w.values())
