"""Work in several processes, or one after the other in this one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pickle import PicklingError
from typing import Any

from joblib import cpu_count, effective_n_jobs
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError
from sklearn.utils.parallel import Parallel, delayed

#: Read by TensorFlow when it starts. What NumPy and torch read is set by joblib.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def in_turn(n_jobs: int | None, function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[Any]:
    """Results of ``function(*task)`` in the order of the tasks, as soon as they are there.

    Parameters
    ----------
    n_jobs : int or None
        As in scikit-learn. Processes share the processors' threads among them.
    function : callable
    tasks : iterable of tuple

    Raises
    ------
    ValueError
        For what cannot be sent to another process.
    """
    workers = effective_n_jobs(n_jobs)
    if workers == 1:
        yield from (function(*task) for task in tasks)
        return
    own: PicklingError | None = None
    try:
        with _threads_shared(workers):
            tried = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(_tried)(function, task) for task in tasks)
        with _closed(tried):
            for result, own in tried:
                if own is not None:
                    raise own
                yield result
    except (PicklingError, BrokenProcessPool) as exc:
        if exc is own or isinstance(exc, TerminatedWorkerError):
            raise
        why = str(exc.__cause__ or exc).strip('\n "').splitlines()[-1]
        raise ValueError(
            f"n_jobs={n_jobs} sends the model to other processes, but it cannot be pickled ({why}). Use n_jobs=1."
        ) from exc


def _tried(function: Callable[..., Any], task: tuple) -> tuple[Any, PicklingError | None]:
    """The result, or an error of the work itself that would be taken for one of sending it."""
    try:
        return function(*task), None
    except PicklingError as exc:
        return None, exc


@contextmanager
def _closed(results: Any) -> Iterator[None]:
    """Close results that are not all taken: else joblib warns of it whenever the collector finds them."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* have been cancelled", UserWarning)
            results.close()


@contextmanager
def _threads_shared(workers: int) -> Iterator[None]:
    """What processes that are started in the block inherit, unless the user has said otherwise."""
    share = str(max(1, cpu_count() // workers))
    ours = {name: share for name in THREADS if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
