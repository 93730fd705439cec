"""A step of training without autograd, for stacks of layers whose derivatives are written out here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from ._flat import FlatGroup, has_begun, is_known, trained
from ._gated import EncodeNumbers, GatedLinear, MeanOfMembers, MembersLinear, rate_of
from ._loader import TensorBatches
from ._module import Rescale, Standardise

aten = torch.ops.aten


def _not_behind_weights(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    raise AssertionError("an encoding is known in front of all weights only")


#: Slope and scale.
SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946)
#: Of a module's activation: the function, and its derivative times g, from its input x and output y. The same
#: kernels that autograd calls.
ACTIVATIONS: dict[type, Callable[[Any], tuple[Callable, Callable]]] = {
    nn.ReLU: lambda m: (torch.relu, lambda g, x, y: aten.threshold_backward.default(g, y, 0)),
    nn.Tanh: lambda m: (torch.tanh, lambda g, x, y: aten.tanh_backward.default(g, y)),
    nn.Sigmoid: lambda m: (torch.sigmoid, lambda g, x, y: aten.sigmoid_backward.default(g, y)),
    nn.SiLU: lambda m: (nn.functional.silu, lambda g, x, y: aten.silu_backward.default(g, x)),
    nn.GELU: lambda m: (
        lambda x: nn.functional.gelu(x, approximate=m.approximate),
        lambda g, x, y: aten.gelu_backward.default(g, x, approximate=m.approximate),
    ),
    nn.ELU: lambda m: (
        lambda x: nn.functional.elu(x, m.alpha),
        lambda g, x, y: aten.elu_backward.default(g, m.alpha, 1, 1, False, x),
    ),
    nn.SELU: lambda m: (torch.selu, lambda g, x, y: aten.elu_backward.default(g, *SELU, 1, False, x)),
    nn.LeakyReLU: lambda m: (
        lambda x: nn.functional.leaky_relu(x, m.negative_slope),
        lambda g, x, y: aten.leaky_relu_backward.default(g, x, m.negative_slope, False),
    ),
    nn.Softplus: lambda m: (
        lambda x: nn.functional.softplus(x, m.beta, m.threshold),
        lambda g, x, y: aten.softplus_backward.default(g, x, m.beta, m.threshold),
    ),
    nn.Softmax: lambda m: (
        lambda x: torch.softmax(x, 1),
        lambda g, x, y: torch._softmax_backward_data(g, y, 1, x.dtype),
    ),
    nn.LogSoftmax: lambda m: (
        lambda x: torch.log_softmax(x, 1),
        lambda g, x, y: torch._log_softmax_backward_data(g, y, 1, x.dtype),
    ),
    nn.Identity: lambda m: (lambda x: x, lambda g, x, y: g),
    nn.Flatten: lambda m: (lambda x: x.flatten(1), lambda g, x, y: g.view(x.shape)),
    Standardise: lambda m: (lambda x: (x - m.mean) / m.scale, lambda g, x, y: g / m.scale),
    EncodeNumbers: lambda m: (m.forward, _not_behind_weights),
    Rescale: lambda m: (lambda x: m.mean + m.scale * x, lambda g, x, y: g * m.scale),
}

#: Most weights that are copied. Beyond, the products take all the time, and copies much memory.
MOST_WEIGHTS = 2**22

#: Losses that see predictions and targets only. One of the user's may look at the weights, whose gradients would miss.
LOSSES = {
    nn.CrossEntropyLoss,
    nn.NLLLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.PoissonNLLLoss,
}


class _Activation:
    """A layer without weights."""

    def __init__(self, module: nn.Module, copies: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
        self.function, self.derivative = ACTIVATIONS[type(module)](module)

    def forward(self, x: Tensor) -> Tensor:
        self.x, self.y = x, self.function(x)
        return self.y

    def backward(self, g: Tensor, further: bool) -> Tensor | None:
        return self.derivative(g, self.x, self.y) if further else None


class _Dropout:
    def __init__(self, module: nn.Dropout, copies: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
        self.keep = 1 - module.p

    def forward(self, x: Tensor) -> Tensor:
        if self.keep == 1:
            return x
        self.mask = torch.empty_like(x).bernoulli_(self.keep).div_(self.keep)
        return x * self.mask

    def backward(self, g: Tensor, further: bool) -> Tensor:
        return g if self.keep == 1 else g * self.mask


class _Weighted:
    """A layer with weights.

    Parameters
    ----------
    module : Module
    copies : dict
        From each trained parameter to the copy that is trained, and where its gradient goes.
    """

    names: tuple[str, ...] = ("weight", "bias")

    def __init__(self, module: Any, copies: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
        self.module = module
        self.weight, self.weight_gradient = self._pair(module.weight, copies)
        self.bias, self.bias_gradient = self._pair(module.bias, copies)

    @staticmethod
    def _pair(p: Tensor | None, copies: Any) -> Any:
        return (None, None) if p is None else copies.get(p, (p.detach(), None))

    def _mask(self, further: bool) -> list[bool]:
        return [further, self.weight_gradient is not None, self.bias_gradient is not None]

    def _keep(self, weight: Tensor, bias: Tensor) -> None:
        if self.weight_gradient is not None:
            self.weight_gradient.copy_(weight)
        if self.bias_gradient is not None:
            self.bias_gradient.copy_(bias)


class _Linear(_Weighted):
    def __init__(self, module: nn.Linear, copies: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
        super().__init__(module, copies)
        self.transposed = self.weight.t()

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return torch.mm(x, self.transposed) if self.bias is None else torch.addmm(self.bias, x, self.transposed)

    def backward(self, g: Tensor, further: bool) -> Tensor | None:
        if self.weight_gradient is not None:
            torch.mm(g.t(), self.x, out=self.weight_gradient)
        if self.bias_gradient is not None:
            torch.sum(g, 0, out=self.bias_gradient)
        return torch.mm(g, self.weight) if further else None


class _GatedLinear(_Weighted):
    names = ("weight", "bias", "gate")

    def __init__(self, module: GatedLinear, copies: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
        super().__init__(module, copies)
        self.gate, self.gate_gradient = self._pair(module.gate, copies)
        self.shape = len(module.gate), -1, module.weight.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        self.gates = self.gate.index_select(1, self.module.owners)[:, None]
        self.gated = (self.weight.view(self.shape) * self.gates).view_as(self.weight)
        return torch.addmm(self.bias, x, self.gated.t())

    def backward(self, g: Tensor, further: bool) -> Tensor | None:
        of_gated = torch.mm(g.t(), self.x).view(self.shape)
        if self.weight_gradient is not None:
            torch.mul(of_gated, self.gates, out=self.weight_gradient.view(of_gated.shape))
        if self.gate_gradient is not None:
            of_numbers = of_gated.mul_(self.weight.view(self.shape)).sum(1)
            self.gate_gradient.zero_().index_add_(1, self.module.owners, of_numbers)
        if self.bias_gradient is not None:
            torch.sum(g, 0, out=self.bias_gradient)
        return torch.mm(g, self.gated) if further else None

    def shrink(self, by: float) -> None:
        self.gate.copy_(nn.functional.softshrink(self.gate, by))


class _MembersLinear(_Weighted):
    def forward(self, x: Tensor) -> Tensor:
        self.x = x.view(len(x), *self.weight.shape[::2]).transpose(0, 1)
        return torch.baddbmm(self.bias, self.x, self.weight.mT).transpose(0, 1).flatten(1)

    def backward(self, g: Tensor, further: bool) -> Tensor | None:
        members = g.view(len(g), *self.weight.shape[:2]).transpose(0, 1)
        if self.weight_gradient is not None:
            self.weight_gradient.copy_(torch.bmm(self.x.mT, members).mT)  # as rounded by autograd
        if self.bias_gradient is not None:
            torch.sum(members, 1, keepdim=True, out=self.bias_gradient)
        return torch.bmm(members, self.weight).transpose(0, 1).flatten(1) if further else None


class _MeanOfMembers:
    def __init__(self, module: MeanOfMembers, copies: dict[Tensor, tuple[Tensor, Tensor]]) -> None:
        self.module, self.n_members = module, module.n_members

    def forward(self, x: Tensor) -> Tensor:
        return self.module.forward(x)

    def backward(self, g: Tensor, further: bool) -> Tensor:
        rows = len(g) // self.n_members
        return g.view(self.n_members, rows, -1).transpose(0, 1).flatten(1).mul_(self.n_members)


class _BatchNorm(_Weighted):
    def forward(self, x: Tensor) -> Tensor:
        m, self.x = self.module, x
        self.stats = (m.running_mean, m.running_var) if m.track_running_stats else (None, None)
        momentum = m.momentum or 0.0
        if m.track_running_stats:
            m.num_batches_tracked.add_(1)
            momentum = 1.0 / float(m.num_batches_tracked) if m.momentum is None else m.momentum
        given = x, self.weight, self.bias, *self.stats, True, momentum, m.eps
        y, *self.saved = aten.native_batch_norm.default(*given)
        return y

    def backward(self, g: Tensor, further: bool) -> Tensor | None:
        given = g, self.x, self.weight, *self.stats, *self.saved, True, self.module.eps, self._mask(further)
        gx, *gradients = aten.native_batch_norm_backward.default(*given)
        self._keep(*gradients)
        return gx


class _LayerNorm(_Weighted):
    def forward(self, x: Tensor) -> Tensor:
        self.x, shape = x, self.module.normalized_shape
        y, *self.saved = torch.native_layer_norm(x, shape, self.weight, self.bias, self.module.eps)
        return y

    def backward(self, g: Tensor, further: bool) -> Tensor | None:
        given = g, self.x, self.module.normalized_shape, *self.saved, self.weight, self.bias, self._mask(further)
        gx, *gradients = aten.native_layer_norm_backward.default(*given)
        self._keep(*gradients)
        return gx


LAYERS: dict[Any, Any] = {
    nn.Linear: _Linear,
    GatedLinear: _GatedLinear,
    MembersLinear: _MembersLinear,
    MeanOfMembers: _MeanOfMembers,
    nn.Dropout: _Dropout,
    nn.BatchNorm1d: _BatchNorm,
    nn.LayerNorm: _LayerNorm,
} | dict.fromkeys(ACTIVATIONS, _Activation)

#: The methods that are written out here. A class may be given another, which is then called.
FORWARDS = {kind: kind.forward for kind in (*LAYERS, *LOSSES, nn.Sequential)}


@contextmanager
def stack_steps(net: Any, batches: TensorBatches, watched: bool = False) -> Iterator[Callable[[Any], Tensor] | None]:
    """A function from a batch to its loss, that trains on it; weights are brought up to date after the block.

    None where it is not certain that everything is as autograd and torch's optimizers would leave it. ``watched``: the
    module's parameters are up to date after each step, too.
    """
    layers = known_layers(net.module_, batches)
    optimizer = net.optimizer_
    if layers is None or not (is_known(optimizer) and _only_these(layers, optimizer) and has_begun(optimizer)):
        yield None
        return
    if not _is_known_loss(net.criterion_) or _watched():
        yield None
        return
    groups = [FlatGroup(optimizer, group) for group in optimizer.param_groups if trained(group)]
    step = _StackStep(net, layers, groups, batches)
    with torch.no_grad():
        try:
            if watched:
                for group in groups:
                    group.lend()
            yield step
        finally:
            if watched:
                for group in groups:
                    group.take_back()
            if step.taken:
                optimizer.zero_grad()  # also of parameters frozen since
                for group in groups:
                    group.write_back()


class _StackStep:
    taken = False

    def __init__(self, net: Any, modules: list[nn.Module], groups: list[FlatGroup], batches: TensorBatches) -> None:
        self.net, self.updates = net, [group.step for group in groups]
        copies = {
            p: pair
            for group in groups
            for p, *pair in zip(group.parameters, group.weights.views, group.gradients.views, strict=True)
        }
        layers = [LAYERS[type(m)](m, copies) for m in modules]
        gated = [(layer, m) for layer, m in zip(layers, modules, strict=True) if isinstance(m, GatedLinear)]
        self.updates += [
            partial(layer.shrink, m.sparsity * rate_of(m.gate, net.optimizer_)) for layer, m in gated if m.sparsity
        ]
        self.forwards = [layer.forward for layer in layers]
        first = next(k for k, m in enumerate(modules) if any(p.requires_grad for p in m.parameters()))
        self.backwards = [(layers[k].backward, k > first) for k in range(len(layers) - 1, first - 1, -1)]
        self.members = next((m.n_members for m in modules if isinstance(m, MeanOfMembers)), 1)
        self.one = torch.ones((), dtype=batches.dtype)
        self.loss: Callable[[Tensor, Any], tuple[Tensor, Tensor]] = self._by_autograd
        criterion, y = net.criterion_, batches.y
        if batches.weight is None and criterion.reduction == "mean":
            labels = y.ndim == 1 and y.dtype == torch.int64
            if type(criterion) is nn.CrossEntropyLoss and labels and _is_even(criterion):
                self.ignored = criterion.ignore_index
                self.loss = self._cross_entropy
            elif type(criterion) is nn.MSELoss and y.dtype == batches.dtype:
                self.loss = self._squares

    def __call__(self, batch: Any) -> Tensor:
        self.taken, z = True, batch[0]
        for forward in self.forwards:
            z = forward(z)
        loss, g = self.loss(z, batch)
        for backward, further in self.backwards:
            g = backward(g, further)
        for update in self.updates:
            update()
        return loss

    def _cross_entropy(self, z: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
        log_p, y = torch.log_softmax(z, 1), self._targets(batch)
        loss, total = aten.nll_loss_forward.default(log_p, y, None, 1, self.ignored)
        g = aten.nll_loss_backward.default(self.one, log_p, y, None, 1, self.ignored, total)
        return loss, torch._log_softmax_backward_data(g, log_p, 1, z.dtype)

    def _squares(self, z: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
        y = self._targets(batch)
        if y.shape != z.shape:
            return self._by_autograd(z, batch)
        return nn.functional.mse_loss(z, y), aten.mse_loss_backward.default(self.one, z, y, 1)

    def _targets(self, batch: Any) -> Tensor:
        """For each member, one after the other."""
        y = batch[1]
        return y if self.members == 1 else y.repeat(self.members, *[1] * (y.ndim - 1))

    def _by_autograd(self, z: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
        with torch.enable_grad(), self.net._weighing(batch):
            z = z.detach().requires_grad_()
            loss = self.net.get_loss(z, batch[1], X=batch[0], training=True)
        return loss.detach(), torch.autograd.grad(loss, z)[0]


def known_layers(module: nn.Module, batches: TensorBatches) -> list[nn.Module] | None:
    """The layers of a stack in which nothing is unknown; None for anything else."""
    layers = _leaves(module)
    if not layers:
        return None
    X = batches.X
    flat = X.ndim == 2 or type(layers[0]) is nn.Flatten
    tensors = [*module.parameters(), *module.buffers()]
    floats = [t for t in tensors if t.is_floating_point()]
    parameters = [p for m in layers for p in m.parameters()]
    ordinary = (
        flat
        and X.dtype in (torch.float32, torch.float64)
        and all(t.dtype == X.dtype and t.is_contiguous() for t in floats)
        and all(t.device.type == "cpu" and type(t) in (nn.Parameter, Tensor) for t in [X, *tensors])
        and len({p.untyped_storage().data_ptr() for p in parameters}) == len(parameters)
        and sum(p.numel() for p in parameters) <= MOST_WEIGHTS
        and not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in parameters)
    )
    return layers if ordinary and all(_is_ordinary(m, layers[:k], batches) for k, m in enumerate(layers)) else None


def _leaves(module: nn.Module) -> list[nn.Module]:
    """Layers in the order in which they are called; none if one of them is not known."""
    kind = type(module)
    if _hooked(module) or kind.__call__ is not nn.Module.__call__ or "forward" in vars(module):
        return []
    if kind in LAYERS:
        return [module] if kind.forward is FORWARDS[kind] and _has_no_more(module) else []
    own = [getattr(kind, name, None) is not getattr(nn.Sequential, name) for name in ("__iter__", "train")]
    if not isinstance(module, nn.Sequential) or kind.forward is not FORWARDS[nn.Sequential] or any(own):
        return []
    parts = [_leaves(part) for part in module]
    return [layer for part in parts for layer in part] if all(parts) else []


def _has_no_more(layer: nn.Module) -> bool:
    """Whether a layer has no parameters that its class does not know, which would get no gradient."""
    return not layer._modules and layer._parameters.keys() <= set(getattr(LAYERS[type(layer)], "names", ()))


def _hooked(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _is_ordinary(module: Any, before: list[nn.Module], batches: TensorBatches) -> bool:
    """Whether a layer's options are among those written out here."""
    if getattr(module, "inplace", False) and not any(isinstance(m, nn.Linear) for m in before):
        return False  # it may write to the rows themselves
    if isinstance(module, EncodeNumbers):
        return not any(p.requires_grad for m in before for p in m.parameters())
    if isinstance(module, MeanOfMembers):
        return module.training
    if isinstance(module, nn.Dropout):
        return module.training and module.p < 1
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    if isinstance(module, nn.Softmax | nn.LogSoftmax):
        return module.dim in (1, -1)
    if isinstance(module, nn.LayerNorm):
        return len(module.normalized_shape) == 1
    if isinstance(module, nn.BatchNorm1d):
        tracks = module.track_running_stats
        stats = (module.running_mean, module.running_var, module.num_batches_tracked)
        kept = all((t is not None) == tracks for t in stats)
        return module.training and kept and min(batches.sizes()) > 1
    return True


def _only_these(layers: list[nn.Module], optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer trains these layers' weights, all of them and no others."""
    theirs = {id(p) for m in layers for p in m.parameters() if p.requires_grad}
    return bool(theirs) and theirs == {id(p) for group in optimizer.param_groups for p in trained(group)}


def _is_known_loss(criterion: nn.Module) -> bool:
    kind = type(criterion)
    known = kind in LOSSES and kind.forward is FORWARDS[kind]
    return known and not _hooked(criterion) and "forward" not in vars(criterion)


def _is_even(criterion: nn.CrossEntropyLoss) -> bool:
    return criterion.weight is None and criterion.label_smoothing == 0


def _watched() -> bool:
    """Whether torch is told to look at every operation."""
    return bool(
        torch_module._has_any_global_hook()
        or not torch.is_grad_enabled()
        or torch.is_anomaly_enabled()
        or torch.is_autocast_enabled("cpu")
        or _get_current_function_mode_stack()
        or _get_current_dispatch_mode_stack()
    )
