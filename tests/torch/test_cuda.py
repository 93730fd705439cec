"""On a GPU: the same numbers as on the CPU. Skipped where there is none."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import skexplain
from skexplain.attributions import ATTRIBUTIONS, get_attribution
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor
from skexplain.torch._network import torch_network
from tests.torch.nets import D, crooked, straight

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

NETS = straight() | crooked()
X, B = np.random.default_rng(0).normal(size=(2, 24, D))
#: They look at weights or train, and need an estimator or a plain stack.
OTHER = {"loco", "conditional_permutation", "connection_weights", "garson"}


def outcome(module, name, device):
    """Values, or the kind of refusal."""
    module = copy.deepcopy(module).double().to(device)
    strategy = get_attribution(name)
    y = np.arange(len(X)) % torch_network(module, X).n_outputs
    try:
        if strategy.local:
            return skexplain.explain(module, X, background=B, attribution=name, random_state=0).values
        return skexplain.importances(module, X, y, attribution=name, random_state=0).values
    except (skexplain.UnsupportedModelError, skexplain.CompletenessError, ValueError) as exc:
        return type(exc).__name__


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(ATTRIBUTIONS.keys() - OTHER))
@pytest.mark.parametrize("net", NETS)
def test_gpu_and_cpu_agree(net, name):
    cpu, gpu = (outcome(NETS[net], name, device) for device in ("cpu", "cuda"))
    if isinstance(cpu, str):
        assert gpu == cpu
    else:
        np.testing.assert_allclose(gpu, cpu, rtol=1e-6, atol=1e-6 * np.abs(cpu).max())


@pytest.mark.parametrize("build", [NeuralNetClassifier, NeuralNetRegressor])
def test_estimator(build):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5)).astype(np.float32)
    signal = X[:, 0] + 2 * X[:, 1]
    y = (signal > 0).astype(int) if build is NeuralNetClassifier else signal
    net = build(device="cuda", random_state=0, max_epochs=30).fit(X, y)
    assert next(net.module_.parameters()).device.type == "cuda"
    assert net.score(X, y) > 0.9
    assert set(np.argsort(net.feature_importances_)[-2:]) == {0, 1}
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=1e-5)
    np.testing.assert_allclose(again.feature_importances_, net.feature_importances_)


def test_module_and_memory_are_left_as_they_were():
    module = nn.Sequential(nn.Linear(D, 8), nn.GELU(), nn.Linear(8, 2)).cuda()
    before = copy.deepcopy(module.state_dict())
    skexplain.explain(module, X, random_state=0)
    held = torch.cuda.memory_allocated()
    for _ in range(3):
        skexplain.explain(module, X, random_state=0)
    assert torch.cuda.memory_allocated() == held
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
