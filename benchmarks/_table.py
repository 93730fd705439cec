"""The results on the screen and in a file."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from ._case import Result


def head() -> str:
    return f"{'work':<78} {'peer':>9} {'ours':>9} {'ratio':>7} {'wanted':>6}  errors: peer, ours"


def line(name: str, result: Result | str) -> str:
    if isinstance(result, str):
        return f"{name}: {result}"
    peer, ours = (f"{e:.2g}" for e in result.errors)
    return (
        f"{result.work:<78} {seconds(result.peer):>9} {seconds(result.ours):>9} {result.ratio:6.3g}x "
        f"{result.wanted:6g}  {peer}, {ours}"
    )


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def write(path: Path, section: str, text: str) -> None:
    """Put a section between its two marks; other parts of the file are left as they are."""
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    old = path.read_text() if path.exists() else ""
    if begin not in old:
        old += f"{begin}\n{end}\n"
    before, after = old[: old.index(begin) + len(begin)], old[old.index(end) :]
    path.write_text(f"{before}\n\n{text}\n\n{after}")


def table(results: list[Result], device: str) -> str:
    rows = [
        "| work | peer | peer's median | ours | ratio | to reach | bare products | error: peer | error: ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        bare = "" if r.bare is None else f"{r.bare / r.ours:.0%}"
        reached = "yes" if r.ratio >= r.wanted else "**no**"
        peer, ours = (f"{e:.2g}" for e in r.errors)
        rows.append(
            f"| {r.work} | {r.peer_name} | {seconds(r.peer)} | {seconds(r.ours)} | **{r.ratio:.3g}** | {r.wanted:.2g}: "
            f"{reached} | {bare} | {peer} | {ours} |"
        )
    remarks = [f"* *{r.work}* ({r.measure}). {r.remark}" for r in results]
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, one thread{gpu(device)}; Python {platform.python_version()}, "
        f"torch {version('torch')}, numpy {version('numpy')}."
    )
    title = "Beside other libraries" + (", on a GPU" if device == "cuda" else "")
    return "\n".join([f"## {title}", "", machine, "", *rows, "", *remarks])


def gpu(device: str) -> str:
    """Its name, after a comma; nothing on the CPU."""
    if device == "cpu":
        return ""
    import torch

    return f", {torch.cuda.get_device_name()}"
