"""Dropout."""

import numpy as np
import pytest

import weft
from weft import _native
from weft.nn import functional as F

from reference.dropout import factors


def test_shares_scale_and_backward_with_the_same_mask():
    x = weft.tensor(np.ones((200, 501), np.float32), requires_grad=True)
    y = F.dropout(x, 0.25)
    values, counts = np.unique(np.asarray(y.detach()), return_counts=True)
    assert values.tolist() == [0.0, np.float32(1 / 0.75)]
    assert abs(counts[0] / y.numel() - 0.25) < 0.01
    y.sum().backward()
    assert (np.asarray(x.grad) == np.asarray(y.detach())).all()


def test_off_in_evaluation_and_at_the_ends():
    x = weft.tensor(np.ones(10, np.float32))
    layer = weft.nn.Dropout(0.5)
    assert layer.eval()(x) is x and F.dropout(x, 0.0) is x
    assert np.asarray(F.dropout(x, 1.0)).tolist() == [0.0] * 10
    with pytest.raises(weft.ConfigError, match=r"\[dropout\] p: expected a number from 0 to 1, got 1.5"):
        weft.nn.Dropout(1.5)


def test_every_call_has_its_own_mask_and_the_seed_brings_it_back():
    x = np.ones(1000, np.float32)
    state = weft.get_rng_state()
    first, second = np.asarray(F.dropout(x)), np.asarray(F.dropout(x))
    weft.set_rng_state(state)
    assert (first != second).any() and (np.asarray(F.dropout(x)) == first).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 15, 63, 64, 65, 1000])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.999])
@pytest.mark.parametrize("key, stream", [(0, 1), (2**63 + 5, 2**40 + 3)])
def test_the_mask_is_the_reference_s(dtype, n, p, key, stream):
    x = np.arange(1, n + 1, dtype=dtype)
    assert (_native.dropout(x, p, key, stream) == x * factors(n, p, key, stream).astype(dtype)).all()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_a_mask_does_not_depend_on_threads_or_on_what_follows(threads):
    x = np.ones(300_007, np.float32)
    weft.set_num_threads(1)
    whole = _native.dropout(x, 0.3, 3, 4)
    weft.set_num_threads(threads)
    assert (_native.dropout(x, 0.3, 3, 4) == whole).all()
    assert all((_native.dropout(x[:n], 0.3, 3, 4) == whole[:n]).all() for n in (1, 100, 4096, 299_999))


def test_a_probability_is_a_multiple_of_a_65536th():
    x = np.ones(100_000, np.float32)
    assert (_native.dropout(x, 2**-18, 1, 1) == 1).all()
    assert (_native.dropout(x, 1 - 2**-18, 1, 1) == 0).all()
    assert _native.dropout(x, 0.1, 1, 1).max() == np.float32(65536 / (65536 - 6554))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_numbers_fall_alone(p):
    """Every place of a group with probability p, and no two of them together more often than by chance (5 standard deviations)."""
    fallen = (_native.dropout(np.ones(64 * 20_000, np.float32), p, 11, 2) == 0).reshape(-1, 64).astype(np.float64)
    deviation = np.sqrt(p * (1 - p) / len(fallen))
    assert np.abs(fallen.mean(0) - p).max() < 5 * deviation
    apart = (fallen - p).T @ (fallen - p) / len(fallen) / (p * (1 - p))
    assert np.abs(apart - np.diag(np.diag(apart))).max() < 5 / np.sqrt(len(fallen))
    following = ((fallen[1:] - p) * (fallen[:-1] - p)).mean(0) / (p * (1 - p))
    assert np.abs(following).max() < 5 / np.sqrt(len(fallen))
