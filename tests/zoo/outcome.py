"""What a strategy says of a network of the zoo: values that are measured, or a refusal."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import skexplain
from skexplain._wrap import as_network
from skexplain.attributions import ATTRIBUTIONS, get_attribution

from . import NAMES, keras_nets, margins, rows, targets, torch_nets

#: Largest gap of a strategy that promises completeness, as a fraction of the spread of the outputs.
TOLERANCE = 1e-3
#: For a look at every network, not for good estimates.
FEW = {"n_repeats": 2, "n_samples": 30, "tol": 0.9}
REFUSALS = (skexplain.CompletenessError, skexplain.UnsupportedModelError)
#: Of the strategies that watch the training the one whose values need no steps; all find the same weights.
STRATEGIES = sorted(name for name, a in ATTRIBUTIONS.items() if not a.needs_training or name == "weight_mean_abs")
FRAMEWORKS = ("torch", "Keras on TensorFlow", "Keras on torch")
#: What stands in the table where nothing is promised to add up.
KINDS = ("signed", "sizes", "global")


class Outcome(NamedTuple):
    """Verdict "complete", "signed", "sizes", "global", or the name of the error that refused.

    Attributes
    ----------
    verdict : str
    gap : float or None
        ``|sum(values) - (f(x) - base)|`` as a fraction of the spread of f, with f asked of the model itself.
    values : ndarray or None
    message : str
        Of the refusal.
    """

    verdict: str
    gap: float | None
    values: NDArray | None
    message: str = ""

    @property
    def refused(self) -> bool:
        return self.values is None


class BareNetwork:
    """A network as `explain` takes it, prepared once for all strategies.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
    framework : str
    """

    def __init__(self, model: Any, framework: str) -> None:
        self.model, self.side = model, side(framework)
        self.before = self.side.snapshot(model)
        network = as_network(model, rows()[0])
        self._network = lambda output: network

    def outputs(self, X: NDArray) -> NDArray:
        """Margins or predictions, from the model and not from the network."""
        return margins(self.side.outputs(self.model, X))


def quick(name: str) -> Any:
    """A registered strategy as it is by default, with few samples."""
    strategy = get_attribution(name)
    return strategy.set_params(**{k: v for k, v in FEW.items() if k in strategy.get_params()})


def outcome(strategy: Any, ready: BareNetwork, name: str, X: NDArray | None = None) -> Outcome:
    """Ask a strategy for the attributions of each row's predicted output.

    Parameters
    ----------
    strategy : Attribution
    ready : BareNetwork
    name : str
        Of the network in the zoo.
    X : ndarray, optional
        Rows to explain, instead of those of the zoo.
    """
    known, B = rows()
    X = known if X is None else X
    try:
        if strategy.needs_training:
            watcher = strategy.watcher()
            watcher.look(known)
            watcher.on_train_begin(ready.model)
            watcher.on_train_end()
            return Outcome("global", None, strategy.watched(watcher))
        if not strategy.local:
            found = skexplain.importances(
                ready, X, targets(name)[: len(X)], attribution=strategy, background=B, random_state=0
            )
            return Outcome("global", None, found.signed)
        found = skexplain.explain(ready, X, attribution=strategy, background=B, random_state=0)
    except REFUSALS as error:
        return Outcome(type(error).__name__, None, None, str(error))
    if not strategy.complete:
        return Outcome("signed" if strategy.signed else "sizes", None, found.values)
    return Outcome("complete", _gap(strategy, ready, X, B, found.values), found.values)


def _gap(strategy: Any, ready: BareNetwork, X: NDArray, B: NDArray, values: NDArray) -> float:
    embedded = ready._network("margin").embedded(np.concatenate([X, B]))
    f = ready.outputs(X)
    if embedded is None:
        base = ready.outputs(strategy.reference(B).astype(B.dtype))
    else:  # the mean of a code is that of what is looked up for it, which only a network behind the look-ups can read
        base = embedded.network.predict(strategy.reference(embedded.embed(B)))
    spread = np.concatenate([base, ready.outputs(B)]).std(axis=0)
    explained = f.argmax(axis=1), np.arange(len(X))
    delta = (f - base.mean(axis=0))[explained[::-1]]
    return float(np.max(np.abs(values.sum(axis=1) - delta) / spread[explained[0]]))


def side(framework: str) -> Any:
    """The half of the zoo that is written in a framework."""
    return importlib.import_module("tests.zoo.in_torch" if framework == "torch" else "tests.zoo.in_keras")


def nets(framework: str) -> dict[str, dict[str, Any]]:
    return torch_nets() if framework == "torch" else keras_nets()


def keras_framework() -> str:
    """Keras on the back end of this process."""
    import keras

    return {"tensorflow": "Keras on TensorFlow", "torch": "Keras on torch"}[keras.backend.backend()]


@cache
def ready(framework: str, name: str, spelling: str | None = None) -> BareNetwork:
    """A network of the zoo, by default in its first spelling."""
    spellings = nets(framework)[name]
    return BareNetwork(spellings[next(iter(spellings)) if spelling is None else spelling], framework)


@cache
def zoo_outcome(strategy: str, framework: str, name: str, spelling: str | None = None) -> Outcome:
    """The outcome for a network of the zoo; computed once a process, as several tests ask for it."""
    return outcome(quick(strategy), ready(framework, name, spelling), name)


def measured(framework: str) -> dict[str, dict[str, Outcome]]:
    """Outcomes of all strategies on all networks, as ``{strategy: {network: outcome}}``."""
    if framework != "torch" and framework != keras_framework():
        raise RuntimeError(f"This process has {keras_framework()}, not {framework}; set KERAS_BACKEND.")
    return {s: {n: zoo_outcome(s, framework, n) for n in NAMES} for s in STRATEGIES}
