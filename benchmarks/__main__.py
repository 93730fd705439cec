"""Time the cases, each in a process of its own, and write the table."""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from . import CASES, _table
from ._case import Result, Setting, run

#: Modules whose cases take a device.
ON_DEVICES = {"training", "replacement", "gradients", "rules"}
RESULTS = Path(__file__).with_name("results.md")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *CASES], metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: on a busy machine")
    parser.add_argument("--tiny", action="store_true", help="see that the cases run")
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.json is not None:
        warnings.simplefilter("ignore")
        (name,) = options.names
        build = getattr(importlib.import_module(f".{CASES[name]}", __package__), name)
        result = run(name, build, Setting(options.device, options.tiny), options.repeats, options.clock)
        options.json.write_text(json.dumps(result.as_dict()))
        return
    names = options.names or [name for name in CASES if options.device == "cpu" or CASES[name] in ON_DEVICES]
    if options.device == "cuda" and not sees_a_gpu():
        print("Skipped: torch sees no GPU.")
        return
    results, section = [], "cases" if options.device == "cpu" else options.device
    print(_table.head())
    for name in names:
        result = in_a_process(name, options)
        print(_table.line(name, result), flush=True)
        if isinstance(result, Result):
            results.append(result)
        if not options.names and not options.tiny:  # now, as later cases take long
            _table.write(RESULTS, section, _table.table(results, options.device))
    if len(results) < len(names):
        sys.exit(1)


def sees_a_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def in_a_process(name: str, options: argparse.Namespace) -> Result | str:
    """The result, or the last line of what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        flags = ["--json", path, "--repeats", options.repeats, "--device", options.device, "--clock", options.clock]
        flags += ["--tiny"] if options.tiny else []
        command = [sys.executable, "-m", __package__, name, *map(str, flags)]
        done = subprocess.run(command, capture_output=True, text=True)
        if not path.exists():
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        result = json.loads(path.read_text())
        return Result(**(result | {"errors": tuple(result["errors"])}))


if __name__ == "__main__":
    main()
