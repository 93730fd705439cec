"""docs/support.md: every strategy on every network of the zoo. Run by ``make support``."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from . import NAMES
from .outcome import FRAMEWORKS, STRATEGIES, TOLERANCE, Outcome, measured
from .planted import KINDS, verdict

PAGE = Path(__file__).parents[2] / "docs" / "support.md"
#: Powers of ten are not told apart below this: it is what rounding in float32 comes to.
SMALLEST = -5
KEYS = {
    "signed": "signed, no sum promised",
    "sizes": "sizes, no sum promised",
    "global": "global",
}

EVERY = "every network"

#: ``{(strategy, network, framework): cell}``
Cells = dict[tuple[str, str, str], str]

INTRODUCTION = f"""\
# Which strategy on which network

Measured, not promised: every registered strategy on small trained networks, one for each operation, in torch and, with
the same weights, in Keras on both back ends. Each column of a table is a framework. `make support` writes this page,
and a test fails when it is out of date.

* **complete** promises that a row's values sum to f(x) minus the mean of f over the strategy's reference. Shown is the
  largest gap found, as a fraction of the spread of the outputs, rounded up to a power of ten. It is measured from the
  returned values and the model's own outputs, not taken from the strategy's report. Above {TOLERANCE} this page could
  not have been written.
* **signed, no sum promised** and **sizes, no sum promised**: by definition the values are not parts of a sum, so none
  is checked.
* **global**: by definition a measure of whole columns; no single rows are explained.
* **refused**: the strategy raised the error named, instead of returning numbers that could be wrong. The reasons are at
  the [end](#reasons-of-refusals).

Sampling strategies were run with few samples. `loco` and `conditional_permutation` train an estimator anew, and so
refuse these bare networks.
`viann` and the other strategies of the training watch the same weights as `weight_mean_abs`, which stands for them.
All networks read the same six flat columns; where an operation wants another shape, the rows are reshaped inside.
`embedding` reads column 0 as an integer code.

The last table is by kind of input: categorical codes, pictures, sequences, words (ids), and several inputs.
"""
PLANTED = """\
In each kind a truth is planted, and small networks have learned it: one of two columns of codes decides; a patch of
four pixels, somewhere; one step of a sequence; one word among others, somewhere; a code beside numbers, as two inputs.
**found** means that in at least nine of ten rows what decides has the largest value (for measures of whole columns:
that it ranks first). **not asked**: what decides is not in the same column in all rows, or the strategy trains or
watches a training. Slopes say how strongly the output reacts to a column, not how much of it the column accounts for:
where `saliency` and `smoothgrad` name something else, nothing is wrong with them.
"""


def cell(found: Outcome) -> str:
    if found.refused:
        return f"refused: {found.verdict}"
    if found.gap is None:
        return KEYS[found.verdict]
    return f"complete, gap ≤ 1e{decade(found.gap)}"


def decade(gap: float) -> int:
    """Power of ten that is not below the gap."""
    return max(SMALLEST, math.ceil(math.log10(max(gap, 10.0**SMALLEST))))


def check(outcomes: dict[str, dict[str, Outcome]]) -> None:
    """Refuse what is neither complete nor refused.

    Raises
    ------
    RuntimeError
        When a strategy that promises completeness returned values that do not add up.
    """
    wrong = [
        f"{strategy} on {net}: gap {o.gap:.2g}"
        for strategy, by_net in outcomes.items()
        for net, o in by_net.items()
        if o.gap is not None and not o.gap <= TOLERANCE
    ]
    if wrong:
        raise RuntimeError("Values that should add up do not, and were not refused:\n" + "\n".join(wrong))


def page(cells: Cells, planted: Cells, reasons: dict[str, dict[tuple[str, str], list[str]]]) -> str:
    """The page as text.

    Parameters
    ----------
    cells, planted : Cells
        By network, and by kind of input.
    reasons : dict
        Networks that were refused, as ``{strategy: {(framework, reason): networks}}``.
    """
    strategies = sorted({strategy for strategy, _, _ in cells})
    overview = [
        [f"[{s}](#{s.replace('_', '-')})", *(_summary(cells[s, n, f] for n in NAMES) for f in FRAMEWORKS)]
        for s in strategies
    ]
    parts = [INTRODUCTION, "## Overview\n", _table(["strategy", *FRAMEWORKS], overview)]
    for s in strategies:
        alike: dict[tuple[str, ...], list[str]] = {}
        for n in NAMES:
            alike.setdefault(tuple(cells[s, n, f] for f in FRAMEWORKS), []).append(n)
        body = [[_listed(members), *row] for row, members in alike.items()]
        parts += [f"## {s.replace('_', ' ')}\n", _table(["networks", *FRAMEWORKS], body)]
    parts += ["## Kinds of input\n", PLANTED, _table(["strategy", *KINDS], _kinds(planted, strategies))]
    parts.append("## Reasons of refusals\n")
    for s, by_reason in sorted(reasons.items()):
        told: dict[tuple[str, str], list[str]] = {}
        for (framework, text), members in by_reason.items():
            told.setdefault((_listed(members), text), []).append(framework)
        lines = [f"* {members} ({', '.join(where)}): {text}\n" for (members, text), where in told.items()]
        parts += [f"**{s}**\n", "".join(lines)]
    return "\n".join(parts)


def _kinds(planted: Cells, strategies: list[str]) -> list[list[str]]:
    """A row for each strategy; frameworks are told apart where they differ."""
    rows = []
    for s in strategies:
        texts = []
        for kind in KINDS:
            by_text: dict[str, list[str]] = {}
            for f in FRAMEWORKS:
                by_text.setdefault(planted[s, kind, f], []).append(f)
            told = [text if len(by_text) == 1 else f"{' and '.join(fs)}: {text}" for text, fs in by_text.items()]
            texts.append("; ".join(told))
        rows.append([s, *texts])
    return rows


def read_planted() -> Cells:
    """The cells of the table by kind of input as it is."""
    cells, inside = {}, False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        inside = line == "## Kinds of input" if line.startswith("## ") else inside
        name, *row = (part.strip() for part in line.strip("|").split("|"))
        if inside and name in STRATEGIES:
            for kind, text in zip(KINDS, row, strict=True):
                for part in text.split("; "):
                    by_framework = part.startswith(FRAMEWORKS)
                    where, verdict = part.split(": ", 1) if by_framework else (" and ".join(FRAMEWORKS), part)
                    cells.update({(name, kind, f): verdict for f in where.split(" and ")})
    return cells


def _listed(members: list[str]) -> str:
    return EVERY if len(members) == len(NAMES) else ", ".join(members)


def _summary(cells: Iterable[str]) -> str:
    counts = Counter(re.split("[,:]", c)[0] for c in cells)
    return ", ".join(f"{kind} {n}" for kind, n in counts.items())


def _table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def read() -> Cells:
    """The cells of the page as it is."""
    cells, strategy = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            strategy = line[3:].replace(" ", "_")
        elif line.startswith("| ") and strategy in STRATEGIES:
            nets, *row = (part.strip() for part in line.strip("|").split("|"))
            members = NAMES if nets == EVERY else nets.split(", ")
            cells.update({(strategy, n, f): c for n in members for f, c in zip(FRAMEWORKS, row, strict=True)})
    return {key: c for key, c in cells.items() if key[1] not in ("networks", "---")}


def same(one: str | None, other: str | None) -> bool:
    """Whether verdicts are equal, gaps within one power of ten, and shares of rows within one of ten."""
    for pattern, most in ((r"complete, gap ≤ 1e(-?\d+)", 1), (r"in (\d+) % of the rows", 10)):
        a, b = (re.fullmatch(pattern, text or "") for text in (one, other))
        if a and b:
            return abs(int(a[1]) - int(b[1])) <= most
    return one == other


def outdated(framework: str) -> list[str]:
    """Lines of the page that are not what is measured now."""
    found = measured(framework)
    check(found)
    now: Cells = {(s, n, framework): cell(o) for s, by_net in found.items() for n, o in by_net.items()}
    return _differences(now, {key: c for key, c in read().items() if key[2] == framework})


def outdated_kinds(framework: str, strategies: Iterable[str] | None = None) -> list[str]:
    """Lines of the table by kind of input that are not what is measured now; None: of all strategies."""
    asked = STRATEGIES if strategies is None else strategies
    now: Cells = {(s, kind, framework): verdict(s, framework, kind) for s in asked for kind in KINDS}
    return _differences(now, {key: c for key, c in read_planted().items() if key[2] == framework and key[0] in asked})


def _differences(now: Cells, then: Cells) -> list[str]:
    return [
        f"{' / '.join(key)}: the page says {then.get(key)!r}, measured is {now.get(key)!r}"
        for key in sorted(now.keys() | then.keys())
        if not same(now.get(key), then.get(key))
    ]


def reason(found: Outcome) -> str:
    """The message without its remedy, and without numbers that differ between processors."""
    text = found.message.split(" Use ")[0].replace("|", "\\|")
    return re.sub(r"(?<!\w)\d[\d.]*(e[+-]?\d+)?", "...", text) if found.verdict == "CompletenessError" else text


def _report(framework: str) -> str:
    """Outcomes as JSON, for the process that asked."""
    found = measured(framework)
    check(found)
    by_net = {s: {n: [cell(o), reason(o)] for n, o in nets.items()} for s, nets in found.items()}
    return json.dumps([by_net, {s: {kind: verdict(s, framework, kind) for kind in KINDS} for s in STRATEGIES}])


def main() -> None:
    """Measure in a process for each back end, as Keras reads its own only once, and write the page."""
    cells: Cells = {}
    planted: Cells = {}
    reasons: dict[str, dict[tuple[str, str], list[str]]] = {}
    for framework in FRAMEWORKS:
        backend = "torch" if framework == "Keras on torch" else "tensorflow"
        command = [sys.executable, "-m", "tests.zoo.support", framework]
        run = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, stdout=subprocess.PIPE, check=True)
        of_networks, of_kinds = json.loads(run.stdout.decode().splitlines()[-1])
        planted |= {(s, kind, framework): text for s, by_kind in of_kinds.items() for kind, text in by_kind.items()}
        for strategy, by_net in of_networks.items():
            for net, (text, why) in by_net.items():
                cells[strategy, net, framework] = text
                if why:
                    reasons.setdefault(strategy, {}).setdefault((framework, why), []).append(net)
    PAGE.write_text(page(cells, planted, reasons), encoding="utf-8")
    print(f"{PAGE} has {len(cells)} cells.")


if __name__ == "__main__":
    print(_report(sys.argv[1])) if len(sys.argv) > 1 else main()
