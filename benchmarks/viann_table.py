"""VIANN beside a forest, mean ablation and Garson, and which ranking of columns is worth most.

``python -m benchmarks.viann_table`` writes ``viann.md``. The experiment of the method's paper (C. R. de Sá, Discovery
Science 2019) with five seeds instead of one, in both frameworks; then what the paper leaves open: which strategy names
the columns that a network cannot do without.
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale
from skorch.dataset import ValidSplit
from torch import nn

from skexplain._jobs import in_turn
from skexplain.attributions import Ablation, Garson
from skexplain.torch import NeuralNetClassifier, NeuralNetRegressor
from skexplain.training import MetricThreshold, VarianceImportanceTorch

PAGE = Path(__file__).with_name("viann.md")
DATA = ("breast_cancer", "digits", "iris", "wine", "diabetes")
ACTIVATIONS = {"NN1": "linear", "NN2": "relu"}
WIDTHS = (50, 100, 50)
#: Gradient of a weight's penalty, in units of the weight: Keras' l2(0.01) adds 0.01 w^2 to the loss.
DECAY, SPREAD, RATE = 0.02, 0.05, 0.01
WATCHED, GOOD, AT_LEAST, AT_MOST, AT_MOST_REGRESSION = 0.05, 0.95, 5, 1000, 100
SEEDS = range(5)
#: From the author's notebook, whose figures for the forest are the paper's: Pearson correlation of VIANN with each.
PUBLISHED = {
    "NN1": {
        "forest": dict(zip(DATA, (0.85, 0.66, 0.88, 0.64, 0.68), strict=True)),
        "mean ablation": dict(zip(DATA, (0.43, 0.96, 0.99, 0.93, 0.86), strict=True)),
        "Garson": dict(zip(DATA, (0.20, 0.87, 0.62, 0.85, 0.79), strict=True)),
    },
    "NN2": {
        "forest": dict(zip(DATA, (0.76, 0.76, 0.87, 0.50, 0.90), strict=True)),
        "mean ablation": dict(zip(DATA, (0.78, 0.94, 0.92, 0.88, 0.98), strict=True)),
        "Garson": dict(zip(DATA, (0.61, 0.84, 0.81, 0.93, 0.60), strict=True)),
    },
}

#: Rows that only measure losses, and rows that only rank, for the strategies that ask rows.
JUDGING, RANKING = 0.3, 0.2
#: Epochs and step size of the networks that are trained anew, with Adam.
ANEW, ANEW_RATE = 30, 0.003
#: Data with so few columns that networks are trained without each of them.
FEW_COLUMNS = 15
RANKINGS = (
    "viann",
    "garson",
    "ablation (mean)",
    "expected_gradients",
    "permutation",
    "forest",
    "random order",
)


class Data(NamedTuple):
    """Standardised columns; labels, or a standardised target."""

    X: NDArray
    y: NDArray

    @property
    def labels(self) -> bool:
        return self.y.dtype.kind == "i"

    def take(self, index: Any) -> Data:
        return Data(self.X[index], self.y[index])

    def columns(self, index: Any) -> Data:
        return Data(self.X[:, index], self.y)

    def split(self, share: float, seed: int) -> tuple[NDArray, NDArray]:
        """Rows, and such a share of others, with labels in proportion."""
        rows = np.arange(len(self.y))
        first, second = train_test_split(
            rows, test_size=share, random_state=seed, stratify=self.y if self.labels else None
        )
        return first, second


def load(name: str) -> Data:
    """A data set of scikit-learn's."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Data(scale(X), y if y.dtype.kind == "i" else scale(y))


# --- the networks


class Net(nn.Sequential):
    """Of normal initial weights, without biases at first."""

    def __init__(self, n_features: int, n_outputs: int, activation: str) -> None:
        layers: list[nn.Module] = []
        for a, b in pairwise((n_features, *WIDTHS)):
            layers += [nn.Linear(a, b), nn.ReLU() if activation == "relu" else nn.Identity()]
        super().__init__(*layers, nn.Linear(WIDTHS[-1], n_outputs))
        for layer in list(self)[::2]:
            nn.init.normal_(layer.weight, std=SPREAD)
            nn.init.zeros_(layer.bias)


#: The weights of the layers before the last.
PENALISED = [("[024].weight", {"weight_decay": DECAY})]


def torch_net(data: Data, network: str, seed: int, epochs: int) -> tuple[Any, Any]:
    """A fitted estimator that has watched its weights, and what has watched them by the original formula.

    The last `WATCHED` of the rows are not trained on.
    """
    n = len(data.y)
    n_trained = int(n * (1 - WATCHED))
    callback = VarianceImportanceTorch(include_initial=False, normalize=None)
    make = NeuralNetClassifier if data.labels else NeuralNetRegressor
    net = make(
        Net,
        module__activation=ACTIVATIONS[network],
        optimizer=torch.optim.SGD,
        optimizer__param_groups=PENALISED,
        lr=RATE,
        max_epochs=epochs,
        batch_size=round(n / 7),
        train_split=ValidSplit([(np.arange(n_trained), np.arange(n_trained, n))]),
        callbacks=[callback, *stop(data)],
        attribution="viann",
        random_state=seed,
    )
    return net.fit(data.X, data.y), callback


def keras_net(data: Data, network: str, seed: int, epochs: int) -> tuple[Any, Any]:
    """The same in Keras."""
    import keras

    from skexplain.keras import KerasClassifier, KerasRegressor
    from skexplain.training import VarianceImportanceKeras

    n_outputs = len(np.unique(data.y)) if data.labels else 1

    def build(n_features: int) -> Any:
        initial = {"kernel_initializer": keras.initializers.RandomNormal(stddev=SPREAD)}
        hidden = {"activation": ACTIVATIONS[network], "kernel_regularizer": keras.regularizers.l2(DECAY / 2)}
        layers = [keras.layers.Dense(width, **hidden, **initial) for width in WIDTHS]
        last = keras.layers.Dense(n_outputs, "softmax" if data.labels else "linear", **initial)
        return keras.Sequential([keras.layers.Input((n_features,)), *layers, last])

    callback = VarianceImportanceKeras(include_initial=False, normalize=None)
    make = KerasClassifier if data.labels else KerasRegressor
    net = make(
        build,
        model__n_features=data.X.shape[1],
        optimizer="sgd",
        optimizer__learning_rate=RATE,
        loss="sparse_categorical_crossentropy" if data.labels else "mean_squared_error",
        metrics=["accuracy"] if data.labels else None,
        epochs=epochs,
        batch_size=round(len(data.y) / 7),
        validation_split=WATCHED,
        callbacks=[callback, *stop(data)],
        attribution="viann",
        random_state=seed,
    )
    return net.fit(data.X, data.y), callback


def stop(data: Data) -> list[MetricThreshold]:
    return [MetricThreshold("val_accuracy", GOOD, AT_LEAST)] if data.labels else []


FRAMEWORKS: dict[str, Callable[..., tuple[Any, Any]]] = {"torch": torch_net, "keras": keras_net}


def anew(data: Data, seed: int) -> Any:
    """NN2 trained by Adam for a fixed number of epochs, so that no loss hangs on when training was stopped."""
    make = NeuralNetClassifier if data.labels else NeuralNetRegressor
    net = make(
        Net,
        module__activation="relu",
        optimizer=torch.optim.Adam,
        optimizer__param_groups=PENALISED,
        lr=ANEW_RATE,
        max_epochs=ANEW,
        batch_size=round(len(data.y) / 7),
        train_split=None,
        random_state=seed,
    )
    return net.fit(data.X, data.y)


def forest(data: Data, seed: int) -> NDArray:
    make = RandomForestClassifier if data.labels else RandomForestRegressor
    return make(100, random_state=seed).fit(data.X, data.y).feature_importances_


# --- what is measured


def loss(net: Any, data: Data) -> float:
    """Log-loss of labels, mean squared error of a target."""
    if data.labels:
        return float(log_loss(data.y, net.predict_proba(data.X), labels=net.classes_))
    return float(mean_squared_error(data.y, net.predict(data.X)))


def mean_ablation(net: Any, data: Data) -> NDArray:
    """Rise of the loss when a column is replaced by its mean, which is 0."""
    rises = []
    for j in range(data.X.shape[1]):
        X = data.X.copy()
        X[:, j] = 0
        rises.append(loss(net, Data(X, data.y)))
    return np.array(rises) - loss(net, data)


def pearson(a: NDArray, b: NDArray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def spearman(a: NDArray, b: NDArray) -> float:
    return pearson(rankdata(a), rankdata(b))


@dataclass(frozen=True)
class Run:
    """One training, and how VIANN agrees with others on all of its rows: Pearson and Spearman."""

    epochs: int
    accuracy: float
    agreement: dict[str, tuple[float, float]]


#: By data, network and framework.
Runs = dict[tuple[str, str, str], list[Run]]
ORIGINAL = "original formula and forest"


def run(name: str, network: str, framework: str, seed: int, most: int = AT_MOST) -> Run:
    """One seed of the paper's experiment."""
    whole = load(name)
    kept, watched = whole.split(WATCHED, seed)
    data = whole.take(np.concatenate([kept, watched]))
    epochs = min(most, AT_MOST if data.labels else AT_MOST_REGRESSION)
    net, callback = FRAMEWORKS[framework](data, network, seed, epochs)
    viann, trees = net.feature_importances_, forest(data, seed)
    others = {
        "forest": trees,
        "mean ablation": mean_ablation(net, data),
        "Garson": net.importances(data.X, attribution=Garson(scaled=False)).values,
    }
    pairs = {other: (viann, values) for other, values in others.items()}
    pairs[ORIGINAL] = callback.var_scores, trees
    return Run(net.n_iter_, net.score(data.X, data.y), {k: (pearson(*p), spearman(*p)) for k, p in pairs.items()})


def rankings(net: Any, trained: Data, asked: Data, seed: int) -> dict[str, NDArray]:
    """Values of the columns by each of `RANKINGS`."""

    def by(strategy: Any) -> NDArray:
        return net.importances(asked.X, asked.y, attribution=strategy, random_state=seed).values

    values = (
        net.feature_importances_,
        by(Garson(scaled=False)),
        by(Ablation(baseline="mean")),
        by("expected_gradients"),
        by("permutation"),
        forest(trained, seed),
        np.random.default_rng(seed).random(asked.X.shape[1]),
    )
    return dict(zip(RANKINGS, values, strict=True))


@dataclass(frozen=True)
class Worth:
    """Rises of the loss on rows that nothing has seen, by ranking.

    Attributes
    ----------
    whole : float
        Loss with all columns.
    quarter, half : dict of float
        Rise when a network is trained without the highest quarter or half of the columns.
    single : dict of float
        Spearman correlation of the values with the rises when a network is trained without each column alone; empty
        for more than `FEW_COLUMNS` columns.
    """

    whole: float
    quarter: dict[str, float]
    half: dict[str, float]
    single: dict[str, float]


def worth(name: str, seed: int, most: int = AT_MOST) -> Worth:
    """One seed of the comparison of all rankings, of NN2 in torch."""
    whole = load(name)
    known, judging = whole.split(JUDGING, seed)
    data, judge = whole.take(known), whole.take(judging)
    trained, asked = (data.take(index) for index in data.split(RANKING / (1 - JUDGING), seed))
    epochs = min(most, AT_MOST if data.labels else AT_MOST_REGRESSION)
    net, _ = torch_net(trained, "NN2", seed, epochs)
    values, d = rankings(net, trained, asked, seed), data.X.shape[1]
    measured: dict[tuple[int, ...], float] = {}

    def without(columns: Iterable[int]) -> float:
        left = tuple(sorted(set(range(d)) - set(columns)))
        if left not in measured:
            measured[left] = loss(anew(data.columns(list(left)), seed), judge.columns(list(left)))
        return measured[left]

    order = {name: np.argsort(-v, kind="stable") for name, v in values.items()}
    rise = {share: {k: without(o[: round(d * share)]) - without([]) for k, o in order.items()} for share in (0.25, 0.5)}
    single = {}
    if d <= FEW_COLUMNS:
        alone = np.array([without([j]) for j in range(d)])
        single = {name: spearman(v, alone) for name, v in values.items()}
    return Worth(without([]), rise[0.25], rise[0.5], single)


# --- the page


def mean_and_spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{np.mean(values):.{digits}f} ± {spread(values):.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def agreement_table(runs: Runs) -> str:
    others = ("forest", "mean ablation", "Garson")
    head = ["data", "network", "framework", "epochs", "accuracy or R²"]
    for other in others:
        head += [f"{other}: Pearson", "published", "Spearman"]
    rows = []
    for (name, network, framework), some in runs.items():
        row = [name, network, framework, f"{np.mean([r.epochs for r in some]):.0f}"]
        row.append(mean_and_spread([r.accuracy for r in some]))
        for other in others:
            p, s = zip(*(r.agreement[other] for r in some), strict=True)
            row += [mean_and_spread(p), f"{PUBLISHED[network][other][name]:.2f}", mean_and_spread(s)]
        rows.append(row)
    return table(head, rows)


def formula_table(runs: Runs) -> str:
    """Pearson correlation with the forest, with and without the initial weights."""
    rows = []
    for (name, network, framework), some in runs.items():
        both = [forests(some, k) for k in ("forest", ORIGINAL)]
        published = f"{PUBLISHED[network]['forest'][name]:.2f}"
        rows.append([name, network, framework, *map(mean_and_spread, both), published])
    return table(["data", "network", "framework", "with the initial weights", "original formula", "published"], rows)


def mean_and_error(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ± {spread(values) / np.sqrt(len(values)):.2f}"


def ranked(worths: dict[str, list[Worth]], share: str) -> list[tuple[str, NDArray]]:
    """Ranks of each ranking's rises for all data and seeds, 1 for the largest, equal ones sharing; the best first."""
    every = [getattr(w, share) for some in worths.values() for w in some]
    ranks = rankdata([[-rises[k] for k in RANKINGS] for rises in every], axis=1)
    return sorted(zip(RANKINGS, ranks.T, strict=True), key=lambda pair: pair[1].mean())


def behind(ranks: NDArray, best: NDArray) -> bool:
    """Whether ranks are larger than the best's by more than two standard errors of their mean difference."""
    gaps = ranks - best
    return float(np.mean(gaps)) > 2 * spread(gaps) / np.sqrt(len(gaps))


def worth_table(worths: dict[str, list[Worth]], share: str) -> str:
    """Rises of the loss by ranking, and mean ranks over data and seeds, with their standard errors."""
    rows = []
    for k, ranks in ranked(worths, share):
        rises = [mean_and_spread([getattr(w, share)[k] for w in some], 3) for some in worths.values()]
        rows.append([k, mean_and_error(ranks), *rises])
    whole = [mean_and_spread([w.whole for w in some], 3) for some in worths.values()]
    rows.append(["*loss with all columns*", "", *whole])
    return table(["highest columns by", "mean rank", *worths], rows)


def single_table(worths: dict[str, list[Worth]]) -> str:
    few = {name: some for name, some in worths.items() if some[0].single}
    rows = []
    for k in RANKINGS:
        each = [[w.single[k] for w in some] for some in few.values()]
        rows.append([k, f"{np.mean(each):.2f}", *map(mean_and_spread, each)])
    rows.sort(key=lambda row: -float(row[1]))
    return table(["strategy", "mean", *few], rows)


SETTINGS = f"""\
Networks of {"-".join(map(str, WIDTHS))} hidden units, NN1 linear, NN2 with ReLU; l2 {DECAY / 2:g} on the kernels of the
hidden layers; initial weights normal with standard deviation {SPREAD:g}, biases 0; SGD with step {RATE:g}, batches of a
seventh of the rows; {WATCHED:.0%} of the rows, drawn at random with labels in proportion, are watched, and training
stops when their accuracy is at least {GOOD:g} after {AT_LEAST} epochs, or after {AT_MOST} epochs ({AT_MOST_REGRESSION}
in regression). Columns and the target of regression are standardised. RandomForest of 100 trees, by impurity, on
labels. Figures are mean ± standard deviation over {len(SEEDS)} seeds, which draw weights, order, split and forest.

As in the paper all rows are asked, those trained on too. **Mean ablation** is the rise of the loss when a column is
replaced by its mean. **Garson** runs through all layers; the author's goes from the first layer's weights to the
last's as if there were none between them, so its published figures are another quantity. Published figures are of one
seed, with rows watched that were the file's last: of one class only in iris and wine. Constant columns (three of
digits) are 0 once standardised: no prediction depends on them, so the forest and ablation give them 0; by VIANN they
get what weight decay moves their initial weights, and by Garson the size of these.
"""

WORTH = f"""\
Which ranking names the columns that a network cannot do without? {JUDGING:.0%} of the rows only measure losses. NN2 is
trained on half of the rows as above, in torch; the other {RANKING:.0%} are for the strategies that ask rows:
permutation, expected gradients, mean ablation (of the outputs, without labels). Then networks are trained anew without
the columns that a strategy ranks highest, on all rows but those that measure: NN2 by Adam, step {ANEW_RATE:g}, always
{ANEW} epochs, as the paper's way to stop would give networks without their best columns a longer training. What is
shown is the rise of the loss (log-loss; mean squared error for diabetes); **the higher, the better the ranking**. In
torch only: Keras would trace a graph for each set of columns of another size.
"""


def conclusions(runs: Runs, worths: dict[str, list[Worth]]) -> str:
    """What the numbers say, in words that hold for any."""
    lines = []
    for network in ACTIVATIONS:
        published = PUBLISHED[network]["forest"]
        means = {f: np.mean([forests(runs[name, network, f]) for name in DATA]) for f in FRAMEWORKS}
        near = [f"{sum(abs(z(forests(runs[name, network, f]), published[name])) <= 2 for name in DATA)}" for f in means]
        lines.append(
            f"{network}: VIANN and the forest agree with a mean Pearson correlation of "
            + " and ".join(f"{mean:.2f} ({f})" for f, mean in means.items())
            + f"; the published mean is {np.mean([*published.values()]):.2f}. Of the {len(DATA)} published figures "
            f"{' and '.join(near)} are within two standard deviations of ours."
        )
    gaps = {
        (name, network): np.mean(forests(runs[name, network, "keras"])) - np.mean(forests(runs[name, network, "torch"]))
        for name in DATA
        for network in ACTIVATIONS
    }
    at = max(gaps, key=lambda key: abs(gaps[key]))
    scatter = np.mean([spread(forests(some)) for some in runs.values()])
    lines.append(
        f"The frameworks' means differ by {np.mean(np.abs([*gaps.values()])):.2f} on average, by {abs(gaps[at]):.2f} "
        f"at most ({', '.join(at)}); single seeds scatter by {scatter:.2f}."
    )
    changes = [abs(a - b) for r in runs.values() for a, b in zip(forests(r), forests(r, ORIGINAL), strict=True)]
    lines.append(
        f"The original formula changes the correlation with the forest by {np.mean(changes):.3f} on average, by "
        f"{max(changes):.2f} at most."
    )
    for share in ("quarter", "half"):
        (best, at_best), *others = ranked(worths, share)
        close = [k for k, ranks in others if not behind(ranks, at_best)]
        lines.append(
            f"The highest {share} of the columns: the loss rises most by {best} (mean rank {at_best.mean():.1f} of "
            f"{len(RANKINGS)}; VIANN {dict([(best, at_best), *others])['viann'].mean():.1f}). Not told apart from it "
            f"(mean difference of the ranks below two of its standard errors): {', '.join(close) or 'none'}."
        )
    return "\n".join(f"* {line}" for line in lines)


def forests(runs: Sequence[Run], other: str = "forest") -> list[float]:
    """Pearson correlations with the forest, one a seed."""
    return [run.agreement[other][0] for run in runs]


def spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def z(values: Sequence[float], published: float) -> float:
    """How far a figure is from the mean, in standard deviations."""
    return (published - float(np.mean(values))) / max(spread(values), 1e-9)


def page(runs: Runs, worths: dict[str, list[Worth]]) -> str:
    packages = ("numpy", "scikit-learn", "torch", "skorch", "keras")
    parts = [
        "# VIANN beside other importances",
        "Written by `python -m benchmarks.viann_table`; "
        + ", ".join(f"{p} {version(p)}" for p in packages)
        + " on TensorFlow.",
        conclusions(runs, worths),
        "## The paper's experiment",
        SETTINGS,
        agreement_table(runs),
        "## With and without the initial weights",
        "Pearson correlation with the forest. The paper's formula leaves out the way from the initial weights to those "
        "after the first epoch; ours counts it.",
        formula_table(runs),
        "## Columns that a network cannot do without",
        WORTH,
        "Without the highest quarter of the columns:",
        worth_table(worths, "quarter"),
        "Without the highest half:",
        worth_table(worths, "half"),
        f"Spearman correlation of a strategy's values with the rises of the loss when a network is trained without "
        f"each column alone, for data of at most {FEW_COLUMNS} columns. Near 0 for all strategies, the rises "
        "are noise: no single column is missed while the others are there.",
        single_table(worths),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def write(path: Path, text: str) -> None:
    """All at once."""
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    beside.replace(path)


def of_seeds(function: Callable[..., Any], *what: str) -> list[Any]:
    """Of each seed, in a process with one thread."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [function(*what, seed) for seed in SEEDS]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viann_table", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    start = time.perf_counter()
    # the longest first, so that no process is left with one at the end
    keys = sorted(product(DATA, ACTIVATIONS, FRAMEWORKS), key=lambda key: key[0] != "digits")
    runs, worths = {}, {}
    for key, found in zip(keys, in_turn(2, of_seeds, [(run, *key) for key in keys]), strict=True):
        runs[key] = found
        tell(start, ", ".join(key))
    for name, found in zip(DATA, in_turn(2, of_seeds, [(worth, name) for name in DATA]), strict=True):
        worths[name] = found
        tell(start, f"{name}, without columns")
    runs = dict(sorted(runs.items(), key=lambda item: (item[0][1], DATA.index(item[0][0]))))
    text = page(runs, worths)
    write(options.out, text)
    print(text)


def tell(start: float, what: str) -> None:
    print(f"{time.perf_counter() - start:5.0f} s  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
