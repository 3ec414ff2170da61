"""Rows of a table."""

import numpy as np
import pytest

import weft
from weft.nn import functional as F

from checking import check_operation


@pytest.mark.parametrize("shape", [(5,), (2, 3), (0,), ()])
def test_embedding_equals_one_hot_times_table(rng, shape):
    indices = rng.integers(0, 7, shape)
    check_operation(lambda w: F.embedding(indices, w), lambda w: np.eye(7)[indices] @ w, {"w": rng.standard_normal((7, 3))})


def test_many_positions_of_one_row_are_added_in_order(rng):
    w = weft.tensor(np.zeros((4, 33), np.float32), requires_grad=True)
    indices, g = np.array([2, 1, 2, 2]), rng.integers(-9, 9, (4, 33)).astype(np.float32)
    F.embedding(indices, w).backward(g)
    expected = np.zeros((4, 33), np.float32)
    np.add.at(expected, indices, g)
    assert (np.asarray(w.grad) == expected).all()


def test_padding_gets_no_gradient():
    layer = weft.nn.Embedding(5, 3, padding_idx=-5)
    assert np.asarray(layer.weight.detach())[0].tolist() == [0.0, 0.0, 0.0]
    layer([[0, 1]]).sum().backward()
    assert np.asarray(layer.weight.grad).tolist()[:2] == [[0.0] * 3, [1.0] * 3]


def test_refusals():
    layer = weft.nn.Embedding(5, 3)
    with pytest.raises(IndexError, match=r"\[embedding\] input: expected indices in 0..5, got 9 at position 1"):
        layer([0, 9])
    with pytest.raises(IndexError, match="got -1"):
        layer([-1])
    with pytest.raises(weft.DtypeError, match=r"\[embedding\] input: expected int64, got float32"):
        layer([0.5])
