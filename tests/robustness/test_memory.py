"""Memory: nothing grows, nothing is left for the garbage collector, buffers are used again."""

import gc
import os

import numpy as np
import pytest

import weft
from weft import models, nn, optim
from weft.data import Pair


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def make_step():
    pairs = [Pair("abcdefgh"[: 2 + i % 6], "xyzxyz"[: 1 + i % 5]) for i in range(64)]
    model = models.Seq2Seq.from_pairs(pairs, hidden=64)
    batch = model.collate(pairs)
    optimizer = optim.AdamW(model.parameters())

    def step():
        loss = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(clip_norm=1.0)
        return loss.item()

    return step


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_two_hundred_steps_do_not_grow():
    step = make_step()
    for _ in range(30):
        step()
    before = resident()
    for _ in range(200):
        step()
    assert resident() - before < 2_000_000


def test_a_warm_training_loop_takes_no_page_faults_for_activations():
    resource = pytest.importorskip("resource", reason="needs the faults that Unix counts")
    layer, readout = nn.LSTM(64, 128), nn.Linear(128, 4000)
    optimizer = optim.AdamW([*layer.parameters(), *readout.parameters()])
    x, target = np.zeros((50, 16, 64), np.float32), np.zeros((50, 16), np.int64)

    def step():
        loss = nn.functional.linear_cross_entropy(layer(x)[0], readout.weight, target, readout.bias)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    for _ in range(10):
        step()
    before = faults()
    for _ in range(20):
        step()
    # The activations of one step alone are thousands of pages.
    assert faults() - before < 20 * 10


def test_nothing_is_left_for_the_garbage_collector():
    step = make_step()
    step()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            step()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_freed_arrays_are_used_again_and_can_be_given_back():
    x = weft.tensor(np.ones((1000, 1000), np.float32))
    for _ in range(3):
        (x + 1.0).exp()
    address = (x + 1.0).numpy().ctypes.data
    assert (x + 1.0).numpy().ctypes.data == address
    assert weft.empty_cache() >= 4_000_000
    assert weft.empty_cache() == 0


def test_a_result_outlives_everything_it_came_from():
    y = np.asarray((weft.tensor(np.ones(5000, np.float32)) + 1.0).exp())
    weft.empty_cache()
    assert (y == y[0]).all() and y.flags.aligned


def test_inference_keeps_nothing():
    layer = nn.LSTM(8, 8)
    with weft.no_grad():
        y, _ = layer(np.zeros((3, 2, 8), np.float32))
    assert not y.requires_grad
