"""Dropout."""

import numpy as np
import pytest

import weft
from weft.nn import functional as F


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
