"""Parameters side by side in one tensor for a while, so that an optimizer's step is a few operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, lr_scheduler
from torch.optim import optimizer as torch_optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

#: A tensor starts at a multiple of so many numbers, as well aligned as if it were alone.
ALIGNED = 16
#: The steps written out here; torch wraps them once, when the first such optimizer is made.
STEPS = {kind: kind.step for kind in (Adam, AdamW, SGD)}


class Flat:
    """Places for tensors of one dtype, side by side in one."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        sizes = [-(-t.numel() // ALIGNED) * ALIGNED for t in tensors]
        starts = accumulate(sizes, initial=0)
        self.whole = tensors[0].new_zeros(sum(sizes))
        self.views = [
            self.whole.as_strided(t.shape, t.stride(), start) for t, start in zip(tensors, starts, strict=False)
        ]


class Copies(Flat):
    """Copies of tensors."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__(tensors)
        self.tensors = list(tensors)
        torch._foreach_copy_(self.views, self.tensors)

    def write_back(self) -> None:
        """Bring the tensors to what the copies have become."""
        torch._foreach_copy_(self.tensors, self.views)


class FlatGroup:
    """Parameters of one group of an optimizer, their gradients and moments, and torch's step on flat copies of them.

    Parameters
    ----------
    optimizer : Optimizer
        For which `is_known` and `has_begun` hold.
    group : dict
        One of its ``param_groups``, with at least one parameter that is trained.

    Attributes
    ----------
    weights : Copies
    gradients : Flat
        Weights are read and gradients written by the caller before each `step`.
    step : callable
    """

    def __init__(self, optimizer: Optimizer, group: dict) -> None:
        self.parameters = trained(group)
        weights = [p.detach() for p in self.parameters]
        self.weights, self.gradients = Copies(weights), Flat(weights)
        states = [optimizer.state[p] for p in self.parameters] if _moments(group) else []
        self.moments = {name: Copies([state[name] for state in states]) for name in _moments(group)}
        self.counts = [state["step"] for state in states if "step" in state]
        self.count = float(self.counts[0]) if self.counts else 0.0
        make = _sgd if isinstance(optimizer, SGD) else _adam
        self.step: Callable[[], None] = make(self, group)

    def lend(self) -> None:
        """Let the parameters be the copies, for the time being."""
        for p, view in zip(self.parameters, self.weights.views, strict=True):
            p.data = view

    def take_back(self) -> None:
        """Let the parameters be the tensors that they were."""
        for p, own in zip(self.parameters, self.weights.tensors, strict=True):
            p.data = own

    def write_back(self) -> None:
        """Leave parameters, gradients and the optimizer's state as torch's own steps would have left them."""
        for copies in (self.weights, *self.moments.values()):
            copies.write_back()
        for count in self.counts:
            count.fill_(self.count)
        for p, gradient in zip(self.parameters, self.gradients.views, strict=True):
            p.grad = gradient.clone()


def trained(group: dict) -> list[Tensor]:
    """Parameters of a group that are not frozen."""
    return [p for p in group["params"] if p.requires_grad]


def is_known(optimizer: Any) -> bool:
    """Whether it is torch's plain Adam, AdamW or SGD, whose step is written out here, and nobody listens to it."""
    return (
        type(optimizer) in STEPS
        and _is_torchs(type(optimizer))
        and vars(optimizer).keys().isdisjoint(("zero_grad", "grad_scale"))
        and ("step" not in vars(optimizer) or _is_scheduled(optimizer))
        and not (_global_optimizer_pre_hooks or _global_optimizer_post_hooks)
        and not (optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
        and all(_is_plain(group) for group in optimizer.param_groups)
    )


def _is_torchs(kind: Any) -> bool:
    """Whether nobody has given the class another step."""
    return kind.step is STEPS[kind] or _wraps(torch_optimizer, kind.step, STEPS[kind])


def _is_scheduled(optimizer: Any) -> bool:
    """Whether its step is the class's in the wrapper of a schedule of the learning rate, which only counts."""
    return _wraps(lr_scheduler, optimizer.step, type(optimizer).step)


def _wraps(module: Any, step: Any, inner: Any) -> bool:
    """Whether a function of that module of torch's wraps another function."""
    return getattr(step, "__globals__", None) is vars(module) and getattr(step, "__wrapped__", None) is inner


def _is_plain(group: dict) -> bool:
    unusual = ("amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused")
    numbers = [group["lr"], group["weight_decay"], *group.get("betas", ()), group.get("momentum", 0.0)]
    return not any(group.get(option) for option in unusual) and all(isinstance(v, float | int) for v in numbers)


def needs_own_step(optimizer: Any) -> bool:
    """Whether a step of torch's must come first: it makes the state, and tells schedules of the learning rate."""
    return is_known(optimizer) and ("step" in vars(optimizer) or not has_begun(optimizer))


def has_begun(optimizer: Optimizer) -> bool:
    """Whether its state is there and alike for all parameters of a group."""
    return all(
        _begun(group, [(p, optimizer.state.get(p, {})) for p in trained(group)]) for group in optimizer.param_groups
    )


def _begun(group: dict, states: list[tuple[Tensor, dict]]) -> bool:
    moments = _moments(group)
    names = {*moments, *(["step"] if "betas" in group else [])}
    counts = {float(state.get("step", 0)) for _, state in states}
    return (
        all(state.keys() == names for _, state in states)
        and len(counts) <= 1
        and all(_alike(state[name], p) for p, state in states for name in moments)
    )


def _alike(moment: Any, p: Tensor) -> bool:
    """Whether numbers at the same place in memory belong together."""
    return isinstance(moment, Tensor) and (moment.dtype, moment.device, moment.shape, moment.stride()) == (
        p.dtype,
        p.device,
        p.shape,
        p.stride(),
    )


def _moments(group: dict) -> list[str]:
    """Names of the tensors that an optimizer keeps for each parameter."""
    if "betas" in group:
        return ["exp_avg", "exp_avg_sq"]
    return ["momentum_buffer"] if group["momentum"] else []


def _adam(flat: FlatGroup, group: dict) -> Callable[[], None]:
    """Adam and AdamW, as in `torch.optim`, operation by operation."""
    (beta1, beta2), lr, eps, decay = group["betas"], group["lr"], group["eps"], group["weight_decay"]
    weights, gradients = flat.weights.whole, flat.gradients.whole
    mean, square = flat.moments["exp_avg"].whole, flat.moments["exp_avg_sq"].whole
    decayed, scale = torch.empty_like(gradients), torch.empty_like(gradients)

    def step() -> None:
        flat.count += 1
        g = gradients
        if decay and group["decoupled_weight_decay"]:
            weights.mul_(1 - lr * decay)
        elif decay:
            g = torch.add(gradients, weights, alpha=decay, out=decayed)
        mean.lerp_(g, 1 - beta1)
        square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        torch.sqrt(square, out=scale).div_((1 - beta2**flat.count) ** 0.5).add_(eps)
        weights.addcdiv_(mean, scale, value=-(lr / (1 - beta1**flat.count)))

    return step


def _sgd(flat: FlatGroup, group: dict) -> Callable[[], None]:
    """SGD, as in `torch.optim`, operation by operation."""
    lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
    weights, gradients = flat.weights.whole, flat.gradients.whole

    def step() -> None:
        g = gradients.add(weights, alpha=decay) if decay else gradients
        if momentum:
            buffer = flat.moments["momentum_buffer"].whole
            buffer.mul_(momentum).add_(g, alpha=1 - group["dampening"])
            g = g.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        weights.add_(g, alpha=-lr)

    return step
