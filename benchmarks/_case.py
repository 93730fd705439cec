"""What a case is, and how it is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Setting:
    """Where and how large.

    Attributes
    ----------
    device : {"cpu", "cuda"}
        Where both networks are.
    tiny : bool
        As small as still makes sense: to see that a case runs.
    """

    device: str = "cpu"
    tiny: bool = False

    def size(self, full: int, tiny: int = 40) -> int:
        """One of two sizes."""
        return min(full, tiny) if self.tiny else full


@dataclass(frozen=True)
class Case:
    """Two ways to the same result.

    Attributes
    ----------
    library : str
        Distribution that the peer's call belongs to, for its version.
    peer, ours : callable
    wanted : float
        The ratio to reach.
    errors : pair of float
        The peer's and ours, against the same reference, by `measure`; for scores 1 - score. Ours must not be larger (by
        more than 1 %), unless both are within `slack`.
    measure : str
        What the errors are.
    slack : float
        An error that counts as none: rounding, or what chance makes of scores.
    bare : callable, optional
        The matrix products of our way alone: what the same work costs at least.
    """

    library: str
    peer: Callable[[], object]
    ours: Callable[[], object]
    wanted: float
    errors: tuple[float, float]
    measure: str
    slack: float = 0.0
    bare: Callable[[], object] | None = None

    def check(self) -> None:
        """Whether ours is as accurate; asserted before anything is timed."""
        peer, ours = self.errors
        assert ours <= max(1.01 * peer, self.slack), (
            f"ours is less accurate: {ours:.2g}, the peer {peer:.2g} ({self.measure})"
        )


@dataclass(frozen=True)
class Result:
    """A line of the table; times are medians in seconds."""

    name: str
    work: str
    remark: str
    peer_name: str
    peer: float
    ours: float
    bare: float | None
    wanted: float
    errors: tuple[float, float]
    measure: str

    @property
    def ratio(self) -> float:
        return self.peer / self.ours

    def as_dict(self) -> dict:
        return asdict(self)


def run(name: str, build: Callable[[Setting], Case], setting: Setting, repeats: int, clock: str) -> Result:
    """Check the case, then time peer and ours in turn.

    The first line of the builder's docstring is the work; the rest says what is left over beside the bare products,
    and why a ratio is not reached.
    """
    case = build(setting)
    case.check()
    calls = {"peer": case.peer, "ours": case.ours} | ({} if case.bare is None else {"bare": case.bare})
    seconds = medians(calls, repeats, clock)
    work, _, remark = (build.__doc__ or name).partition("\n")
    return Result(
        name,
        work.strip(),
        " ".join(remark.split()),
        f"{case.library} {version(case.library)}",
        seconds["peer"],
        seconds["ours"],
        seconds.get("bare"),
        case.wanted,
        case.errors,
        case.measure,
    )


def medians(calls: dict[str, Callable[[], object]], repeats: int, clock: str = "wall") -> dict[str, float]:
    """Median seconds of each call, in turn, after a warm-up."""
    now = time.perf_counter if clock == "wall" else time.process_time
    times: dict[str, list[float]] = {key: [] for key in calls}
    for repeat in range(repeats + 1):
        for key, call in calls.items():
            start = now()
            call()
            if repeat:
                times[key].append(now() - start)
    return {key: statistics.median(values) for key, values in times.items()}
