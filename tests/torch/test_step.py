"""Steps without autograd: the same weights, losses, buffers, gradients and optimizer as torch's own steps leave."""

import copy
import pickle
import types
from contextlib import nullcontext

import numpy as np
import pytest
import skorch
import torch
from skorch.callbacks import Checkpoint, EarlyStopping, Freezer, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from skexplain._pieces import quantiles
from skexplain.torch import ColumnGatedMLP, NeuralNetClassifier, NeuralNetRegressor, _epoch
from skexplain.torch._module import ACTIVATIONS

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 5)).astype(np.float32)
Y = (X[:, 0] - X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
T = np.stack([X[:, 0] * X[:, 1], X[:, 2]], 1)


@pytest.fixture
def steps(monkeypatch):
    """A list of 1 for each epoch whose steps went without autograd, 0 for others."""
    found, stack_steps = [], _epoch.stack_steps

    class Counted:
        def __init__(self, *args):
            self.block = stack_steps(*args)

        def __enter__(self):
            step = self.block.__enter__()
            found.append(int(step is not None))
            return step

        def __exit__(self, *exc):
            return self.block.__exit__(*exc)

    monkeypatch.setattr(_epoch, "stack_steps", Counted)
    return found


def fit(module, *, fast=True, weight=None, again=0, **params):
    """A fitted net; not `fast`: with torch's own steps."""
    cls = params.pop("cls", NeuralNetClassifier)
    params = {"max_epochs": 2, "batch_size": 16, "random_state": 0} | params
    target = params.pop("target", Y if cls is NeuralNetClassifier else T)
    rows = params.pop("rows", X)
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr(_epoch, "stack_steps", lambda *args: nullcontext())
        net = cls(module, **params).fit(rows, target, sample_weight=weight)
        for _ in range(again):
            net.partial_fit(rows, target, sample_weight=weight)
    return net


def state(net):
    """All that training leaves, as one flat list of names and arrays."""
    found = [*net.module_.state_dict().items()]
    found += [(f"{name}.grad", p.grad) for name, p in net.module_.named_parameters()]
    optimizer = net.optimizer_.state_dict()
    for k, values in optimizer["state"].items():
        found += [(f"{k}.{name}", v) for name, v in values.items()]
    return found, optimizer["param_groups"]


def history(net):
    return [{k: v for k, v in row.items() if k != "dur"} for row in net.history.to_list()]


def check_same(fast, slow):
    (a, groups), (b, wanted) = state(fast), state(slow)
    assert [name for name, _ in a] == [name for name, _ in b]
    for (name, v), (_, w) in zip(a, b, strict=True):
        if v is None or w is None:
            assert v is w, name
        else:
            assert (v.dtype, v.shape) == (w.dtype, w.shape), name
            assert torch.equal(v, w), name
    assert groups == wanted
    assert history(fast) == history(slow)


def stack(*hidden):
    return lambda: nn.Sequential(nn.Linear(5, 7), *(copy.deepcopy(m) for m in hidden), nn.Linear(7, 3))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_plain_skorch(steps, optimizer):
    """In the order of the rows and without dropout: skorch's loader takes other draws."""
    params = {"criterion": nn.CrossEntropyLoss, "optimizer": optimizer, "lr": 0.02, "batch_size": 16, "max_epochs": 3}
    params |= {"train_split": predefined_split(Dataset(X[:20], Y[:20])), "verbose": 0}
    module = stack(nn.BatchNorm1d(7), nn.ReLU())
    nets = []
    for cls, in_order in ((NeuralNetClassifier, {"iterator_train__shuffle": False}), (skorch.NeuralNetClassifier, {})):
        torch.manual_seed(0)
        net = cls(module, **params, **in_order).initialize()
        torch.manual_seed(0)
        net.module_ = module().train()
        net.initialize_optimizer()
        nets.append(net.partial_fit(X, Y, classes=[0, 1, 2]))
    check_same(*nets)
    assert all(steps)


class Named(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Sequential(nn.Linear(5, 9), nn.ReLU()), nn.Linear(9, 3))


MODULES = {
    "subclass": Named,
    "default": None,
    "gates": lambda: ColumnGatedMLP(5, 3, hidden=(7, 6), edges=quantiles(X), sparsity=3.0, dropout=0.2),
    "ensemble": lambda: ColumnGatedMLP(5, 3, hidden=(7, 6), edges=quantiles(X), sparsity=1.0, n_ensemble=3),
    "linear": lambda: nn.Sequential(nn.Linear(5, 3)),
    "no bias": lambda: nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 3)),
    "relu in place": stack(nn.ReLU(inplace=True)),
    "tanh": stack(nn.Tanh()),
    "sigmoid": stack(nn.Sigmoid()),
    "silu": stack(nn.SiLU()),
    "gelu": stack(nn.GELU(), nn.GELU("tanh")),
    "elu": stack(nn.ELU(0.7)),
    "selu": stack(nn.SELU()),
    "leaky": stack(nn.LeakyReLU(0.2)),
    "softplus": stack(nn.Softplus(2.0, 1.0)),
    "identity": stack(nn.Identity()),
    "dropout": stack(nn.Dropout(0.3), nn.ReLU(), nn.Dropout(0.0)),
    "dropout first": lambda: nn.Sequential(nn.Dropout(0.2), nn.Linear(5, 3)),
    "batchnorm": stack(nn.BatchNorm1d(7), nn.ReLU()),
    "batchnorm first": lambda: nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)),
    "batchnorm bare": stack(nn.BatchNorm1d(7, affine=False, momentum=None)),
    "batchnorm forgetful": stack(nn.BatchNorm1d(7, track_running_stats=False)),
    "layernorm": stack(nn.LayerNorm(7)),
    "layernorm bare": stack(nn.LayerNorm(7, elementwise_affine=False)),
    "softmax": lambda: nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=-1)),
    "log_softmax": lambda: nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(dim=1)),
}
ADAM = {"optimizer": torch.optim.Adam, "lr": 0.01}


@pytest.mark.parametrize("name", MODULES)
def test_layers(steps, name):
    fast, slow = fit(MODULES[name], **ADAM), fit(MODULES[name], fast=False, **ADAM)
    assert steps == [1] * 2
    check_same(fast, slow)


@pytest.mark.parametrize("seed", range(8))
def test_any_widths(steps, seed):
    """Tails of vectors, single units and rows, all in one tensor."""
    rng = np.random.default_rng(seed)
    kinds = [nn.ReLU, nn.Tanh, nn.GELU, lambda: nn.Dropout(0.2), nn.Identity]
    widths = [5, *rng.integers(1, 70, size=rng.integers(1, 4)), 3]
    drawn = rng.integers(len(kinds), size=len(widths))

    def module():
        layers = [m for a, b, k in zip(widths, widths[1:], drawn, strict=False) for m in (nn.Linear(a, b), kinds[k]())]
        return nn.Sequential(*layers[:-1])

    params = ADAM | {"batch_size": int(rng.integers(2, 50)), "dtype": ["float32", "float64"][seed % 2]}
    check_same(fit(module, **params), fit(module, fast=False, **params))
    assert all(steps)


OPTIONS = {
    "sgd": {},
    "momentum": {"optimizer__momentum": 0.9, "optimizer__dampening": 0.1, "optimizer__weight_decay": 0.1},
    "nesterov": {"optimizer__momentum": 0.9, "optimizer__nesterov": True},
    "adam": ADAM | {"optimizer__betas": (0.8, 0.99), "optimizer__eps": 1e-4, "optimizer__weight_decay": 0.1},
    "adamw": {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1},
    "groups": ADAM | {"optimizer__param_groups": [("0.*", {"lr": 0.1, "weight_decay": 0.2})]},
    "weights": ADAM | {"weight": np.linspace(0.1, 2, 90)},
    "class weights": ADAM | {"class_weight": "balanced"},
    "float64": ADAM | {"dtype": "float64"},
    "smoothing": {"criterion": nn.CrossEntropyLoss, "criterion__label_smoothing": 0.1},
    "sum": {"criterion": nn.CrossEntropyLoss, "criterion__reduction": "sum", "lr": 1e-3},
    "in order": {"iterator_train__shuffle": False, "train_split": None},
    "drop last": {"iterator_train__drop_last": True, "batch_size": 17},
    "one batch": {"batch_size": -1},
    "warm start": ADAM | {"again": 1},
    "schedule of one batch": ADAM | {"batch_size": -1, "callbacks": [LRScheduler("StepLR", step_size=1)]},
    "schedule": ADAM | {"callbacks": [LRScheduler("StepLR", step_size=1)]},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(steps, name):
    module = stack(nn.ReLU(), nn.Dropout(0.1))
    fast, slow = fit(module, **copy.deepcopy(OPTIONS[name])), fit(module, fast=False, **copy.deepcopy(OPTIONS[name]))
    assert steps
    assert all(steps)
    check_same(fast, slow)


@pytest.mark.parametrize("criterion", [nn.MSELoss, nn.L1Loss, nn.HuberLoss])
@pytest.mark.parametrize("weight", [None, np.linspace(0.1, 2, 90)], ids=["even", "weighted"])
def test_regression(steps, criterion, weight):
    params = {"cls": NeuralNetRegressor, "criterion": criterion, "weight": weight}
    for module in (None, lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))):
        check_same(fit(module, **params), fit(module, fast=False, **params))
    assert all(steps)


@pytest.mark.parametrize("last", [nn.Identity(), nn.Sigmoid()], ids=["logit", "sigmoid"])
def test_two_classes_with_one_unit(steps, last):
    params = {"target": Y > 0, "criterion": "auto"}

    def module():
        return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1), copy.deepcopy(last))

    check_same(fit(module, **params), fit(module, fast=False, **params))
    assert all(steps)


@pytest.mark.parametrize("first", [0, 2], ids=["first layer", "last layer"])
def test_frozen_layers(steps, first):
    def module():
        torch.manual_seed(0)
        built = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        built[first].requires_grad_(False)
        return built

    check_same(fit(module, **ADAM), fit(module, fast=False, **ADAM))
    assert all(steps)


@pytest.mark.parametrize("frozen", ["1.*", "1.weight"])
def test_layers_frozen_on_the_way(steps, frozen):
    """What is frozen keeps no gradient of the epochs before, alone in its group or not."""
    params = {**ADAM, "max_epochs": 4, "optimizer__param_groups": [("1.*", {"lr": 0.1})]}
    fast, slow = (fit(Named, fast=fast, callbacks=[Freezer(frozen, at=3)], **params) for fast in (True, False))
    assert steps == [1] * 4
    assert fast.module_[1].weight.grad is None
    check_same(fast, slow)


def test_images(steps):
    params = {"rows": X[:, :4].reshape(90, 2, 2), **ADAM}

    def module():
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

    check_same(fit(module, **params), fit(module, fast=False, **params))
    assert all(steps)


def test_early_stopping_and_checkpoints(steps, tmp_path):
    def callbacks():
        return [
            EarlyStopping(patience=2, load_best=True, sink=lambda text: None),
            Checkpoint(dirname=str(tmp_path), monitor="valid_loss_best", load_best=True, sink=lambda text: None),
        ]

    params = {"max_epochs": 20, "optimizer": torch.optim.Adam, "lr": 0.1}
    fast, slow = (fit(Named, fast=fast, callbacks=callbacks(), **params) for fast in (True, False))
    assert all(steps)
    check_same(fast, slow)


def test_what_is_pickled_trains_on(steps):
    fast, slow = (fit(Named, fast=fast, **ADAM) for fast in (True, False))
    sizes = [len(pickle.dumps(net)) for net in (fast, slow)]
    assert sizes[0] < 1.05 * sizes[1]
    fast, slow = (pickle.loads(pickle.dumps(net)).partial_fit(X, Y) for net in (fast, slow))
    check_same(fast, slow)


def test_interruptions(steps, monkeypatch):
    """An epoch that is broken off leaves the weights of the steps that were taken."""

    def stop(batches):
        for k, batch in enumerate(batches):
            if k == 3:
                raise KeyboardInterrupt
            yield batch

    nets = []
    for fast in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr("skexplain.torch._epoch.iter", lambda it: stop(it), raising=False)
            nets.append(fit(Named, fast=fast, **ADAM, train_split=None))
    for a, b in zip(nets[0].module_.parameters(), nets[1].module_.parameters(), strict=True):
        assert torch.equal(a, b)
    assert len(nets[0].history[-1]["batches"]) == 3
    assert history(nets[0]) == history(nets[1])
    assert steps == [1]


class OwnForward(Named):
    def forward(self, x):
        return super().forward(x) * 1.0


class OwnLayer(nn.Linear):
    pass


class Penalty(nn.CrossEntropyLoss):
    pass


def hooked():
    module = Named()
    module[0][0].register_forward_hook(lambda *args: None)
    return module


def weight_hooked():
    module = Named()
    module[1].weight.register_hook(lambda g: g * 2)
    return module


def shared():
    module = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    module[2].weight = module[0].weight
    return module


def same_memory():
    module = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    module[2].weight.data = module[0].weight.data
    return module


def overlapping():
    module, memory = Named(), torch.rand(80)
    module[0][0].weight.data = memory[:45].view(9, 5)
    module[1].weight.data = memory[40:67].view(3, 9)
    return module


def unused_weight():
    module = Named()
    module[0][0].extra = nn.Parameter(torch.ones(2))
    return module


def weight_of_activation():
    module = Named()
    module[0][1].weight = nn.Parameter(torch.ones(2))
    return module


def layer_in_layer():
    module = Named()
    module[0][0].inner = nn.Linear(2, 2)
    return module


def uncounted():
    module = stack(nn.BatchNorm1d(7))()
    module[1].num_batches_tracked = None
    return module


class OwnOptimizerStep(NeuralNetClassifier):
    """Its step is changed before a schedule of the learning rate wraps it."""

    def initialize_optimizer(self, *args):
        super().initialize_optimizer(*args)
        self.optimizer_.step = types.MethodType(lambda optimizer: None, self.optimizer_)
        return self


def normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 7)), nn.ReLU(), nn.Linear(7, 3))


@pytest.mark.parametrize(
    "params",
    [
        {"module": OwnForward},
        {"module": lambda: nn.Sequential(OwnLayer(5, 3))},
        {"module": hooked},
        {"module": weight_hooked},
        {"module": shared},
        {"module": same_memory},
        {"module": overlapping},
        {"module": unused_weight},
        {"module": weight_of_activation},
        {"module": layer_in_layer},
        {"module": uncounted},
        {"module": normed},
        {"module": lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3))},
        {"module": lambda: nn.Sequential(nn.Linear(5, 7), nn.PReLU(), nn.Linear(7, 3))},
        {"module": Named, "criterion": Penalty},
        {"module": Named, "optimizer": torch.optim.RMSprop},
        {"module": Named, **ADAM, "optimizer__amsgrad": True},
        {"module": Named, **ADAM, "optimizer__fused": True},
        {"module": Named, "cls": OwnOptimizerStep, "target": Y, "callbacks": [LRScheduler("StepLR", step_size=1)]},
    ],
)
def test_what_is_not_known_goes_to_torch(steps, params):
    params = dict(params)
    fit(params.pop("module"), **params)
    assert not any(steps)


@pytest.mark.parametrize("name", ["Linear", "ReLU", "Sequential", "NLLLoss"])
def test_changed_classes_go_to_torch(steps, monkeypatch, name):
    kind = getattr(nn, name)
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda *args: forward(*args) * 1.0)
    fit(lambda: nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 3), nn.LogSoftmax(1)), criterion=nn.NLLLoss)
    assert steps == [0] * 2


@pytest.mark.parametrize("scheduled", [False, True], ids=["bare", "scheduled"])
def test_changed_optimizers_go_to_torch(steps, monkeypatch, scheduled):
    calls, step = [], torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *args: calls.append(1) or step(self, *args))
    fit(Named, **ADAM, callbacks=[LRScheduler("StepLR", step_size=1)] if scheduled else [])
    assert len(calls) == 10
    assert steps == [0] * 2


def test_state_laid_out_unlike_the_weights_goes_to_torch(steps):
    nets = []
    for fast in (True, False):
        net = fit(Named, fast=fast, **ADAM)
        state = net.optimizer_.state[net.module_[1].weight]
        state["exp_avg"] = state["exp_avg"].t().contiguous().t()
        nets.append(net.partial_fit(X, Y))
    assert steps == [1] * 2 + [0] * 4
    assert torch.equal(*(net.module_[1].weight for net in nets))


def test_large_modules(steps, monkeypatch):
    monkeypatch.setattr("skexplain.torch._step.MOST_WEIGHTS", 5 * 9 + 9 + 9 * 3 + 3)
    fit(Named)
    assert steps == [1] * 2
    monkeypatch.setattr("skexplain.torch._step.MOST_WEIGHTS", 83)
    fit(Named)
    assert steps == [1, 1, 0, 0]


def test_whoever_watches_every_operation_sees_them(steps):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *args: seen.append(m))
    try:
        fit(Named)
    finally:
        handle.remove()
    assert seen
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        fit(Named)
    assert not any(steps)


def test_optimizer_hooks_are_called(steps):
    calls = []

    class Net(NeuralNetClassifier):
        def initialize_optimizer(self, *args):
            super().initialize_optimizer(*args)
            self.optimizer_.register_step_post_hook(lambda *args: calls.append(1))
            return self

    Net(Named, max_epochs=2, random_state=0).fit(X, Y)
    assert calls
    assert not any(steps)


def test_default_module_has_nothing_unknown(steps):
    for activation in ACTIVATIONS.keys() - {"sigmoid"}:  # may be taken for a last activation
        params = {"module__activation": activation, "module__dropout": 0.1, "max_epochs": 1}
        fit(None, cls=NeuralNetRegressor, **params)
    assert steps == [1] * (len(ACTIVATIONS) - 1)
