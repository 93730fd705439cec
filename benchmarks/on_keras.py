"""Keras on TensorFlow: training, predicting, permutation importance and DeepSHAP.

torch is not imported here. scikeras 0.13 is no classifier to scikit-learn 1.9, which asks for tags it does not give:
the folds of a search are passed, as scikit-learn would not stratify them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import scikeras.wrappers
import tensorflow as tf
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skexplain.attributions import DeepSHAP, Permutation
from skexplain.keras import KerasClassifier
from skexplain.keras._network import keras_network

from . import CASES
from ._case import Case, Setting
from .watching import BATCH, EPOCHS, watched_beside_not

COMMON = {"optimizer": "adam", "loss": "binary_crossentropy", "verbose": 0}
ACCURACY = "1 - accuracy"
REPEATS, REFERENCES = 5, 100


def by_chance(setting: Setting, full: float = 0.12) -> float:
    """Errors that chance makes of few rows and epochs."""
    return 1.0 if setting.tiny else full


def data(setting: Setting, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    if setting.device != "cpu" and not tf.config.list_physical_devices("GPU"):
        raise RuntimeError("left out: TensorFlow sees no GPU here")
    n = setting.size(n)
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int64)


def build(meta: dict[str, Any], width: int = 64) -> keras.Model:
    return keras.Sequential(
        [
            keras.layers.Input((meta["n_features_in_"],)),
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(32, "relu"),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )


def estimators(**parameters: Any) -> tuple[scikeras.wrappers.KerasClassifier, KerasClassifier]:
    """The same in scikeras and in ours."""
    return scikeras.wrappers.KerasClassifier(build, **COMMON, **parameters), KerasClassifier(
        build, **COMMON, **parameters
    )


def twins(X: np.ndarray, y: np.ndarray) -> tuple[scikeras.wrappers.KerasClassifier, KerasClassifier]:
    """Both fitted, with the same weights."""
    peer, ours = (net.fit(X, y) for net in estimators(epochs=10, batch_size=64, optimizer__learning_rate=0.01))
    peer.model_.set_weights(ours.model_.get_weights())
    return peer, ours


def products(sizes: list[tuple[int, int, int]]) -> Callable[[], None]:
    """Bare matrix products ``(n, k) @ (k, m)`` in float32, 256 rows at a time, so that memory is no matter."""
    rng, operands = np.random.default_rng(0), []
    for n, k, m in sizes:
        rows = min(n, 256)
        a, b = (rng.random(shape, dtype=np.float32) for shape in ((rows, k), (k, m)))
        operands.append((max(1, n // rows), a, b, np.empty((rows, m), np.float32)))

    def run() -> None:
        for times, a, b, out in operands:
            for _ in range(times):
                np.matmul(a, b, out=out)

    return run


def layers(d: int) -> list[tuple[int, int]]:
    return [(d, 64), (64, 32), (32, 1)]


def fit_beside_keras(setting: Setting, n: int, d: int, batch_size: int, epochs: int, wanted: float) -> Case:
    X, y = data(setting, n, d)
    epochs, slack = setting.size(epochs, 2), by_chance(setting)
    _, ours = estimators(epochs=epochs, batch_size=batch_size)

    def bare_fit() -> keras.Model:
        model = build({"n_features_in_": d})
        model.compile(COMMON["optimizer"], COMMON["loss"])
        model.fit(X, y, epochs=epochs, batch_size=batch_size, verbose=0)
        return model

    keras.utils.set_random_seed(0)
    theirs = np.mean((bare_fit().predict(X, verbose=0)[:, 0] > 0.5) != y)
    errors = (float(theirs), 1 - ours.fit(X, y).score(X, y))
    rows = len(X) * epochs
    steps = [(rows, a, b) for a, b in layers(d)] * 2 + [(rows, b, a) for a, b in layers(d)[1:]]
    return Case("keras", bare_fit, lambda: ours.fit(X, y), wanted, errors, ACCURACY, slack, products(steps))


def keras_fit_5000(setting: Setting) -> Case:
    """Keras: fit beside bare model.fit, 5000 x 30, MLP 64-32, 10 epochs, batches of 128

    Both make and compile the model. What is left is TensorFlow's cost for each operation of a step, however small.
    """
    return fit_beside_keras(setting, 5000, 30, 128, 10, 5)


def keras_fit_500(setting: Setting) -> Case:
    """Keras: fit beside bare model.fit, 500 x 20, MLP 64-32, 20 epochs, batches of 64

    About half of what is left is making the model and its variables, the rest operations of steps. The first fit of a
    kind of model, which is not timed, is half a second longer.
    """
    return fit_beside_keras(setting, 500, 20, 64, 20, 10)


def keras_fit_scikeras_500(setting: Setting) -> Case:
    """Keras: fit, 500 x 20, MLP 64-32, 20 epochs, batches of 64"""
    X, y = data(setting, 500, 20)
    peer, ours = estimators(epochs=setting.size(20, 2), batch_size=64)
    keras.utils.set_random_seed(0)
    errors = (1 - peer.fit(X, y).score(X, y), 1 - ours.fit(X, y).score(X, y))
    return Case("scikeras", lambda: peer.fit(X, y), lambda: ours.fit(X, y), 10, errors, ACCURACY, by_chance(setting))


def keras_grid_search_scikeras(setting: Setting) -> Case:
    """Keras: GridSearchCV, 2 widths x 2 learning rates x 5 folds, 500 x 20, MLP, 20 epochs, batches of 64

    Each width is traced once, at the warm-up.
    """
    X, y = data(setting, 500, 20)
    nets = estimators(epochs=setting.size(20, 1), batch_size=64, optimizer__learning_rate=0.001, model__width=64)
    grid = {"model__width": [32, 64], "optimizer__learning_rate": [0.003, 0.01]}
    grid = {name: values[: setting.size(2, 1)] for name, values in grid.items()}
    folds = StratifiedKFold(setting.size(5, 2))
    peer, ours = (GridSearchCV(net, grid, cv=folds, error_score="raise") for net in nets)
    keras.utils.set_random_seed(0)
    errors = (1 - peer.fit(X, y).best_score_, 1 - ours.fit(X, y).best_score_)
    slack = by_chance(setting, 0.2)
    return Case("scikeras", lambda: peer.fit(X, y), lambda: ours.fit(X, y), 3, errors, "1 - best score", slack)


def keras_predict_scikeras(setting: Setting) -> Case:
    """Keras: predict, 5000 x 30, MLP 64-32

    scikit-learn's checks of rows, and blocks of always 128 rows, so that a row's last digit does not depend on others.
    """
    X, y = data(setting, 5000, 30)
    peer, ours = twins(X, y)
    exact = in_float64(ours.model_.get_weights(), X)
    errors = (relative(peer.predict_proba(X)[:, 1], exact), relative(ours.predict_proba(X)[:, 1], exact))
    bare = products([(len(X), a, b) for a, b in layers(30)])
    what = "probabilities in float64"
    return Case("scikeras", lambda: peer.predict(X), lambda: ours.predict(X), 20, errors, what, 1e-5, bare)


def in_float64(weights: list[np.ndarray], X: np.ndarray) -> np.ndarray:
    """Probabilities of a sigmoid unit behind dense layers."""
    h = X.astype(np.float64)
    for k in range(0, len(weights), 2):
        h = (np.maximum(h, 0) if k else h) @ weights[k] + weights[k + 1]
    return 1 / (1 + np.exp(-h[:, 0]))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, in units of the spread of b."""
    return float(np.abs(a - b).max() / np.std(b))


def keras_permutation_importance_scikeras(setting: Setting) -> Case:
    """Keras: scikit-learn's permutation_importance on ours, 1000 x 30, 5 repeats, MLP 64-32

    Shuffling, scoring and checking rows are scikit-learn's in both.
    """
    X, y = data(setting, 1000, setting.size(30, 3))
    peer, ours = twins(X, y)

    def measured(net: Any) -> np.ndarray:
        return permutation_importance(net, X, y, n_repeats=setting.size(REPEATS, 1), random_state=0).importances_mean

    gap = float(np.abs(measured(peer) - measured(ours)).max())
    bare = products([(len(X) * REPEATS * X.shape[1], a, b) for a, b in layers(X.shape[1])])
    return Case("scikeras", lambda: measured(peer), lambda: measured(ours), 20, (0.0, gap), "difference", 1e-3, bare)


def keras_permutation_scikeras(setting: Setting) -> Case:
    """Keras: strategy permutation beside scikit-learn's on scikeras, 1000 x 30, 5 repeats, MLP 64-32"""
    X, y = data(setting, 1000, setting.size(30, 3))
    peer, ours = twins(X, y)
    repeats = setting.size(REPEATS, 1)
    strategy = Permutation(scoring="accuracy", n_repeats=repeats)

    def theirs() -> np.ndarray:
        return permutation_importance(peer, X, y, n_repeats=repeats, random_state=0).importances_mean

    def values() -> np.ndarray:
        return ours.importances(X, y, attribution=strategy, random_state=0).signed

    exact = permutation_importance(ours, X, y, n_repeats=50, random_state=1).importances_mean
    errors = (float(np.abs(theirs() - exact).max()), float(np.abs(values() - exact).max()))
    slack = by_chance(setting, 0.02)
    first, *rest = layers(X.shape[1])
    bare = products([(len(X), *first), *[(len(X) * REPEATS * X.shape[1], a, b) for a, b in rest]])
    return Case("scikeras", theirs, values, 100, errors, "largest error beside 50 repeats", slack, bare)


def keras_watching(setting: Setting) -> Case:
    """Keras: fit watched at each step by VIANN, beside the same unwatched, 5000 x 30, MLP 64-32, batches of 64

    The graph of an epoch gives the weights after each step.
    """
    common = {**COMMON, "epochs": setting.size(EPOCHS, 2), "batch_size": BATCH, "random_state": 0}

    def make(**watching: Any) -> KerasClassifier:
        return KerasClassifier(build, **common, **watching)

    return watched_beside_not(setting, make)


def keras_deepshap_shap(setting: Setting) -> Case:
    """Keras: DeepSHAP, 100 background rows, 500 x 30, MLP 64-64, both outputs

    shap takes ``(model.inputs, model.outputs[0])``. It replaces gradients of TensorFlow's for good when its explainer
    is made, so ours traces its graphs before that; they are not changed by it.
    """
    import shap

    X, _ = data(setting, 500, 30)
    B = np.random.default_rng(1).normal(size=(REFERENCES, 30)).astype(np.float32)
    keras.utils.set_random_seed(0)
    inner = [keras.layers.Dense(64, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.layers.Input((30,)), *inner])
    network = keras_network(model, X, classes=np.arange(2), output="logit")
    targets = [np.full(len(X), k) for k in (0, 1)]

    def ours() -> np.ndarray:
        values = [DeepSHAP().attribute(network, X, B, t, np.random.default_rng(0)).values for t in targets]
        return np.stack(values, -1)

    exact = rescale_in_float64(model.get_weights(), X, B)
    errors = relative(ours(), exact)
    explainer = shap.DeepExplainer((model.inputs, model.outputs[0]), B)

    def theirs() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return explainer.shap_values(X, check_additivity=True)

    pairs = len(X) * REFERENCES
    sizes = [(len(X), 30, 64), (len(X), 64, 64), (pairs, 64, 64), (pairs, 64, 30)]
    what = "largest error beside float64"
    return Case("shap", theirs, ours, 15, (relative(theirs(), exact), errors), what, 1e-4, products(2 * sizes))


def rescale_in_float64(weights: list[np.ndarray], X: np.ndarray, B: np.ndarray) -> np.ndarray:
    """DeepLIFT's rescale rule of a ReLU network, for both outputs, averaged over the references."""
    W = [w.astype(np.float64) for w in weights[::2]]
    total = np.zeros((*X.shape, W[-1].shape[1]))
    for r in B:
        m, slopes = W[-1], []
        x, y = X.astype(np.float64), r.astype(np.float64)
        for w, b in zip(W[:-1], weights[1::2], strict=False):
            x, y = x @ w + b, y @ w + b
            slopes.append((np.maximum(x, 0) - np.maximum(y, 0)) / (x - y))
            x, y = np.maximum(x, 0), np.maximum(y, 0)
        m = np.broadcast_to(m, (len(X), *m.shape))
        for w, s in zip(W[-2::-1], slopes[::-1], strict=True):
            m = w @ (s[:, :, None] * m)
        total += m * (X - r)[:, :, None]
    return total / len(B)


def see_that_the_cases_run() -> None:
    """Each at tiny size in this process, as importing TensorFlow takes as long; the peers run for their errors only."""
    warnings.simplefilter("ignore")
    for name, module in CASES.items():
        if module == "on_keras":
            case = globals()[name](Setting(tiny=True))
            case.check()
            case.ours()
            print(name)


if __name__ == "__main__":
    see_that_the_cases_run()
