"""Work in several processes."""

import os
import pickle
import threading

import pytest
from joblib import cpu_count, parallel_config
from threadpoolctl import threadpool_info

from skexplain._jobs import THREADS, in_turn


def threads(_):
    import numpy as np

    np.ones(1)
    pools = [pool["num_threads"] for pool in threadpool_info()]
    return os.getpid(), max(pools, default=1), [int(os.environ[name]) for name in THREADS]


def broken():
    raise ValueError("arrived broken")


class Unreadable:
    def __reduce__(self):
        return broken, ()


def test_processes_share_the_processors():
    for process, number, given in in_turn(2, threads, [(k,) for k in range(4)]):
        assert process != os.getpid()
        assert number <= max(1, cpu_count() // 2)
        assert max(given) <= max(1, cpu_count() // 2)
    assert not os.environ.keys() & set(THREADS)


def test_one_job_stays_here():
    assert list(in_turn(None, os.getpid, [(), ()])) == [os.getpid()] * 2
    with parallel_config("threading", n_jobs=2):
        assert list(in_turn(None, os.getpid, [(), ()])) == [os.getpid()] * 2


def test_what_cannot_be_sent_is_said():
    for sent, why in ((threading.Lock(), "TypeError: .*lock"), (Unreadable(), "arrived broken")):
        with pytest.raises(ValueError, match=rf"n_jobs=2 .*cannot be pickled \(.*{why}.*\)\. Use n_jobs=1"):
            list(in_turn(2, id, [(sent,)]))


def unpicklable_result(i):
    raise pickle.PicklingError("raised by the work itself")


def test_errors_of_the_work_are_its_own():
    for n_jobs in (1, 2):
        with pytest.raises(pickle.PicklingError, match="raised by the work itself"):
            list(in_turn(n_jobs, unpicklable_result, [(1,), (2,)]))
