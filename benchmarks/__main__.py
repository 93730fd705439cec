"""Run the cases and print a table."""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from .cases import CASES


def median(call: Callable[[], object], repeats: int) -> float:
    """Median seconds after a warm-up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *CASES], metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{'work':<64} {'peer':>9} {'ours':>9} {'ratio':>6}  difference")
    for name in options.names or CASES:
        build, n = CASES[name]
        case = build(n)
        peer, ours = median(case.peer, options.repeats), median(case.ours, options.repeats)
        print(f"{build.__doc__:<64} {peer:8.3f}s {ours:8.3f}s {peer / ours:5.1f}x  {case.gap:.1g}")


if __name__ == "__main__":
    main()
