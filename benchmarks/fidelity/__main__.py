"""Measure, and write the page, the picture and the single results.

A run that was broken off goes on where it was, as long as the sources are the same.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

import skexplain
from skexplain._files import written
from skexplain._jobs import in_turn

from . import _page, _peers, _plot
from ._job import PARTS, run
from ._record import Record

FOLDER = Path(__file__).resolve().parent.parent
#: Part, data set and draw.
Task = tuple[str, str, int]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=__doc__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of fidelity.md, fidelity.png, fidelity.csv")
    parser.add_argument("--only", nargs="+", metavar="DATA", help="only data sets whose names contain one of these")
    parser.add_argument("--rows", type=int, help="most rows of a draw: to see that it runs")
    parser.add_argument("--page", action="store_true", help="measure nothing, write page and picture of fidelity.csv")
    options = parser.parse_args(argv)
    results = options.out / "fidelity.csv"
    if not options.page:
        wanted = tasks(options.draws, options.only)
        if {part for part, *_ in wanted} != set(PARTS):
            names = "; ".join(f"{part}: {', '.join(module.DATA)}" for part, module in PARTS.items())
            parser.error(f"--only {options.only} and --draws {options.draws} must leave data of both parts. {names}")
        save(measured(wanted, options), results)
    frame = pd.read_csv(results)
    _plot.draw(frame, options.out / "fidelity.png")
    with written(options.out / "fidelity.md") as temporary:
        Path(temporary).write_text(_page.page(frame))


def tasks(draws: int, only: Sequence[str] | None) -> list[Task]:
    """All draws of all data sets, or of some of them."""
    return [
        (part, name, k)
        for k in range(draws)  # first: what a run that is broken off has left is about all data
        for part, module in PARTS.items()
        for name in module.DATA
        if only is None or any(word in name for word in only)
    ]


def measured(wanted: list[Task], options: argparse.Namespace) -> pd.DataFrame:
    """Results of the tasks in their order; those that an earlier run has left are not repeated."""
    start, kept = time.perf_counter(), options.out / f"fidelity-{sources(options.rows)}.partial.csv"
    frame = pd.read_csv(kept) if kept.exists() else pd.DataFrame(columns=list(Record.__annotations__))
    there = set(zip(frame.part, frame.data, frame.draw, strict=True))
    left = [task for task in wanted if task not in there]
    tell(start, f"{len(wanted) - len(left)} of {len(wanted)} tasks are there")
    for k, (task, records) in enumerate(
        zip(left, in_turn(options.jobs, run, [(*task, options.rows) for task in left]), strict=True)
    ):
        new = pd.DataFrame([asdict(record) for record in records])
        frame = new if frame.empty else pd.concat([frame, new], ignore_index=True)
        save(frame, kept)
        tell(start, f"{k + 1} of {len(left)}: {', '.join(map(str, task))}")
    place = {task: k for k, task in enumerate(wanted)}
    at = pd.Series([place.get(task, -1) for task in zip(frame.part, frame.data, frame.draw, strict=True)])
    frame = frame.loc[at[at >= 0].sort_values(kind="stable").index]
    kept.unlink(missing_ok=True)
    return frame


def save(frame: pd.DataFrame, path: Path) -> None:
    with written(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")


def sources(rows: int | None) -> str:
    """What results depend on, as a few letters: results of other sources are not gone on with."""
    digest = hashlib.sha256(f"{rows} {_peers.HAS_LASSONET}".encode())
    for folder in (Path(skexplain.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def tell(start: float, what: str) -> None:
    print(f"{time.perf_counter() - start:5.0f} s  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
