"""Time and memory against the size of the data: ``python -m benchmarks.scale``.

Writes a part of ``results.md`` and the picture ``scale.png``.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import skexplain
from skexplain.attributions import ExpectedGradients, Permutation, Saliency

from . import _table
from ._problems import MLP

FOLDER = Path(__file__).parent
STRATEGIES = (
    "saliency",
    "expected_gradients",
    "deepshap",
    "integrated_gradients",
    "permutation",
    "shapley_sampling",
)
#: What grows, its sizes, and what the others are meanwhile.
SERIES: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "rows": ((1_000, 10_000, 100_000, 1_000_000), {"columns": 30, "background": 100}),
    "columns": ((30, 300, 3000), {"rows": 200, "background": 100}),
    "background": ((10, 100, 1000), {"rows": 200, "columns": 30}),
}
#: Seconds that the last point of a series may take.
LONGEST = 60.0
#: Below this a point says more about calls than about the work.
SHORTEST = 0.02
#: Rows and columns of the file whose importances are computed, and of the smaller one beside it.
MANY, FEW, COLUMNS = 1_000_000, 10_000, 100
#: Of these the growth does not depend on how much is sampled, but the time does.
MEASURED: dict[str, Any] = {
    "saliency": Saliency(),
    "expected_gradients, 10 samples a row": ExpectedGradients(n_samples=10),
    "permutation, 10 groups, 1 repeat": Permutation(n_repeats=1),
    "permutation, the same, scoring=accuracy": Permutation(n_repeats=1, scoring="accuracy"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: on a busy machine")
    parser.add_argument("--memory", nargs=3, metavar=("FILE", "ROWS", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.memory is not None:
        path, n, name = options.memory
        print(*memory(Path(path), int(n), MEASURED[name]))
        return
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    times = {what: {name: series(name, what, clock) for name in STRATEGIES} for what in SERIES}
    draw(times, FOLDER / "scale.png")
    text = "\n".join([*table(times), "", *memory_table()])
    _table.write(FOLDER / "results.md", "scale", text)
    print(text)


def fitted(n_columns: int) -> Any:
    """An untrained network as a fitted estimator: what is computed does not depend on its weights."""
    torch.manual_seed(0)
    rows = normal(100, n_columns)
    return skexplain.from_fitted(MLP(n_columns).eval(), rows, np.arange(100) % 2, random_state=0)


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def series(name: str, what: str, clock: Callable[[], float]) -> dict[int, float]:
    """Seconds of a default `importances` at each size that does not take too long."""
    sizes, fixed = SERIES[what]
    seconds: dict[int, float] = {}
    for size in sizes:
        if seconds and expected(seconds, size) > LONGEST:
            break
        given = fixed | {what: size}
        net, y = fitted(given["columns"]), np.arange(given["rows"]) % 2
        X, background = normal(given["rows"], given["columns"]), normal(given["background"], given["columns"], 1)
        options = {"attribution": name, "background": background, "random_state": 0}
        net.importances(X[:50], y[:50], **options)
        taken: list[float] = []
        while len(taken) < 3 and sum(taken) < 2:
            start = clock()
            net.importances(X, y, **options)
            taken.append(clock() - start)
        seconds[size] = statistics.median(taken)
        print(f"{name}, {size} {what}: {_table.seconds(seconds[size])}", file=sys.stderr, flush=True)
    return seconds


def expected(seconds: dict[int, float], size: int) -> float:
    """Seconds of the next size, by the growth so far."""
    last, growth = max(seconds), exponent(seconds) if len(seconds) > 1 else 1.0
    return seconds[last] * (size / last) ** max(growth, 1.0)


def exponent(seconds: dict[int, float]) -> float:
    """Slope of log time on log size, over the points that are long enough, and at least the last two."""
    points = sorted(seconds.items())
    points = [p for p in points[:-2] if p[1] > SHORTEST] + points[-2:]
    size, taken = np.log(np.array(points).T)
    return float(np.polyfit(size, taken, 1)[0])


def table(times: dict[str, dict[str, dict[int, float]]]) -> list[str]:
    lines = [
        "## Scale",
        "",
        "Time of `importances` by default, MLP 64-32 on torch, one thread; the exponent is the slope of log time on "
        f"log size, over points of more than {1000 * SHORTEST:g} ms. A size that would take more than {LONGEST:g} s by "
        "the growth so far was not run (-).",
        "",
        "![time against size](scale.png)",
    ]
    for what, (sizes, fixed) in SERIES.items():
        others = ", ".join(f"{size} {name}" for name, size in fixed.items())
        lines += ["", f"| {what} ({others}) | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent |"]
        lines.append("|---" * (len(sizes) + 2) + "|")
        for name, seconds in times[what].items():
            cells = [_table.seconds(seconds[size]) if size in seconds else "-" for size in sizes]
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {exponent(seconds):.2f} |")
    return lines


def draw(times: dict[str, dict[str, dict[int, float]]], path: Path) -> None:
    """Time against size on logarithmic axes, in colours and marks that can be told apart without colours."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00")  # Okabe and Ito
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), sharey=True, constrained_layout=True)
    for ax, (what, (_, fixed)) in zip(axes, SERIES.items(), strict=True):
        for name, colour, mark in zip(STRATEGIES, colours, "osD^vP", strict=True):
            seconds = times[what][name]
            ax.loglog(list(seconds), list(seconds.values()), color=colour, marker=mark, label=name.replace("_", " "))
        low, high = ax.get_xlim()
        ax.loglog([low, high], [0.01, 0.01 * high / low], color="0.6", linestyle=":", label="in proportion")
        ax.set_xlim(low, high)
        ax.set_xlabel(what)
        ax.set_title(", ".join(f"{size} {name}" for name, size in fixed.items()), fontsize=10)
        ax.grid(visible=True, which="major", color="0.9")
    axes[0].set_ylim(1e-3, 200)
    axes[0].set_ylabel("seconds")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110)


def memory_table() -> list[str]:
    """Peaks of processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.float32"
        rows = np.memmap(path, np.float32, "w+", shape=(MANY, COLUMNS))
        for k in range(0, MANY, FEW):
            rows[k : k + FEW] = normal(FEW, COLUMNS, k)
        rows.flush()
        del rows
        lines = [
            f"Peak of the memory that is the process's own (`RssAnon`; pages of the mapped file are the system's), "
            f"torch and all, while importances of an `np.memmap` of float32 with {COLUMNS} columns are computed; in "
            "brackets what is more than before the call.",
            "",
            f"| strategy | {FEW:,} rows | {MANY:,} rows | ratio |",
            "|---|---|---|---|",
        ]
        for name in MEASURED:
            peaks = []
            for n in (FEW, MANY):
                command = [sys.executable, "-m", "benchmarks.scale", "--memory", str(path), str(n), name]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                peaks.append([float(v) for v in done.stdout.split()])
            few, many = (f"{peak:.0f} MB (+{peak - before:.0f})" for before, peak in peaks)
            lines.append(f"| {name} | {few} | {many} | {peaks[1][1] / peaks[0][1]:.2f} |")
    return lines


def memory(path: Path, n: int, strategy: Any) -> tuple[float, float]:
    """Megabytes of this process before the importances of n rows of a file, and at most meanwhile."""
    X, y = np.memmap(path, np.float32, "r", shape=(n, COLUMNS)), np.arange(n) % 2
    groups = {str(k): [int(j) for j in part] for k, part in enumerate(np.array_split(np.arange(COLUMNS), 10))}
    net = fitted(COLUMNS)
    net.importances(X[:50], y[:50], attribution=strategy, groups=groups)
    before, seen, done = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    net.importances(X, y, attribution=strategy, groups=groups)
    done.set()
    watcher.join()
    return before, max(seen)


def own_memory() -> float:
    """Megabytes that are backed by no file."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
