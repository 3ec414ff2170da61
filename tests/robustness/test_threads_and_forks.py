"""Threads, forks and panics."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import weft

SIZE = 300


def work(seed=0):
    a = np.random.default_rng(seed).standard_normal((SIZE, SIZE)).astype(np.float32)
    return np.asarray(weft.tensor(a) @ weft.tensor(a))


def test_several_python_threads_at_once_get_the_same_bits():
    expected = [work(i) for i in range(4)]
    wrong = []

    def run(i):
        for _ in range(20):
            if not (work(i) == expected[i]).all():
                wrong.append(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_with_threads_of_its_own():
    code = """
import os, sys, numpy as np, weft
a = np.ones((300, 300), np.float32)
weft.set_num_threads(2)
before = np.asarray(weft.tensor(a) @ weft.tensor(a))
for _ in range(5):
    child = os.fork()
    if child == 0:
        ok = (np.asarray(weft.tensor(a) @ weft.tensor(a)) == before).all()
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if (np.asarray(weft.tensor(a) @ weft.tensor(a)) == before).all() else 1)
        os._exit(0 if ok and os.waitpid(grandchild, 0)[1] == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (np.asarray(weft.tensor(a) @ weft.tensor(a)) == before).all()
print("fine")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "fine\n", done.stderr


def test_a_panic_in_a_worker_is_an_exception_and_the_pool_lives_on():
    with pytest.raises(RuntimeError, match="internal error: asked to panic"):
        weft._native.panic_in_a_worker()
    assert work().shape == (SIZE, SIZE)


def test_importing_starts_nothing():
    code = "import threading, sys, weft; print(threading.active_count(), len(__import__('os').listdir('/proc/self/task')))"
    if not os.path.exists("/proc/self/task"):
        pytest.skip("needs /proc")
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.split() == ["1", "1"], done.stdout + done.stderr


def test_thread_counts_are_checked():
    for bad in (0, -1, 2000, 1.5, True):
        with pytest.raises(weft.ConfigError, match="a whole number from 1 to 1024"):
            weft.set_num_threads(bad)


def test_threadpoolctl_sees_and_limits_the_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    weft.interop.register_threadpoolctl()

    def mine():
        return [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "weft"]

    assert [pool["num_threads"] for pool in mine()] == [weft.get_num_threads()]
    assert mine()[0]["version"] == weft.__version__
    before = weft.get_num_threads()
    with threadpoolctl.threadpool_limits(1, user_api="weft"):
        assert weft.get_num_threads() == 1 and mine()[0]["num_threads"] == 1
    assert weft.get_num_threads() == before
