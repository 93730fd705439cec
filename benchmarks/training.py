"""Training and predicting."""

from __future__ import annotations

import numpy as np
import skorch
import torch
from torch import nn

from skexplain.torch import NeuralNetClassifier

from ._case import Case, Setting
from ._problems import MLP, data, products, relative

#: Of batches of 128 rows through 30-64-32-2: forward, gradients of the weights, gradients of the inputs.
LAYERS = [(30, 64), (64, 32), (32, 2)]
COMMON = {"max_epochs": 10, "batch_size": 128, "iterator_train__shuffle": True, "verbose": 0}


def nets(setting: Setting) -> tuple[skorch.NeuralNetClassifier, NeuralNetClassifier]:
    """The same module, optimizer and options in skorch and in ours."""
    adam = {"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "lr": 0.01, "device": setting.device}
    return skorch.NeuralNetClassifier(MLP, **adam, **COMMON), NeuralNetClassifier(MLP, **adam, **COMMON)


def twins(setting: Setting, X: np.ndarray, y: np.ndarray) -> tuple[skorch.NeuralNetClassifier, NeuralNetClassifier]:
    """Both fitted, with the same weights."""
    peer, ours = nets(setting)
    ours.set_params(random_state=0).fit(X, y)
    peer.initialize()
    peer.classes_inferred_ = np.unique(y)
    peer.module_.load_state_dict(ours.module_.state_dict())
    return peer, ours


def training_products(n: int, epochs: int, device: str) -> list[tuple[int, int, int]]:
    """Shapes of the products of training; 80 % of the rows are trained on, the others scored."""
    train, valid = int(0.8 * n) * epochs, (n - int(0.8 * n)) * epochs
    forward = [(train + valid, a, b) for a, b in LAYERS]
    backward = [(train, b, a) for a, b in LAYERS] + [(train, b, a) for a, b in LAYERS[1:]]
    return forward + backward


def fit_skorch(setting: Setting) -> Case:
    """fit, 5000 x 30, MLP 64-32, 10 epochs, batches of 128

    Steps run without autograd on weights that lie side by side. Of the time beside the products most goes into some
    thirty calls a step on 128 rows each, Adam's nine first of all: torch's fused Adam would be one, but not the same
    numbers to the last bit. A tenth goes into scores of the rows held out, a tenth into checks and making the module.
    """
    n = setting.size(5000)
    X, y = data(n)
    peer, ours = nets(setting)
    torch.manual_seed(0)
    errors = tuple(1 - net.fit(X, y).score(X, y) for net in (peer, ours))
    bare = products(training_products(n, 10, setting.device), setting.device)
    return Case("skorch", lambda: peer.fit(X, y), lambda: ours.fit(X, y), 8, errors, "1 - accuracy", 0.05, bare)


def fit_bare_loop(setting: Setting) -> Case:
    """the same beside a bare loop in torch, which neither holds out rows nor keeps records

    The loop's time is autograd's and that of Adam's operations, which it does for each parameter.
    """
    n = setting.size(5000)
    X, y = data(n)
    x, labels = torch.as_tensor(X).to(setting.device), torch.as_tensor(y).to(setting.device)
    _, ours = nets(setting)
    ours.set_params(train_split=None)

    def loop() -> nn.Module:
        module = MLP().to(setting.device)
        optimizer, loss = torch.optim.Adam(module.parameters(), lr=0.01), nn.CrossEntropyLoss()
        for _ in range(10):
            order = torch.randperm(n, device=setting.device)
            for k in range(0, n, 128):
                rows = order[k : k + 128]
                optimizer.zero_grad()
                loss(module(x[rows]), labels[rows]).backward()
                optimizer.step()
        return module

    torch.manual_seed(0)
    theirs = float((loop()(x).argmax(1) != labels).double().mean())
    errors = (theirs, 1 - ours.fit(X, y).score(X, y))
    return Case("torch", loop, lambda: ours.fit(X, y), 1 / 1.3, errors, "1 - accuracy", 0.05)


def predict_skorch(setting: Setting) -> Case:
    """predict, 5000 x 30, MLP 64-32

    In slices of 256 rows, the last one filled up, so that no row's prediction depends on the others; calls of small
    layers take as long as the products.
    """
    n = setting.size(5000)
    X, y = data(n)
    peer, ours = twins(setting, X, y)
    with torch.no_grad():
        exact = ours.module_.double()(torch.as_tensor(X).double().to(setting.device)).softmax(1).cpu().numpy()
    ours.module_.float()
    errors = tuple(relative(net.predict_proba(X), exact) for net in (peer, ours))
    bare = products([(n, a, b) for a, b in LAYERS], setting.device)
    return Case(
        "skorch", lambda: peer.predict(X), lambda: ours.predict(X), 15, errors, "probabilities in float64", 1e-5, bare
    )
