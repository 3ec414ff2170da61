"""Softmax cross-entropy."""

import numpy as np
import pytest

import weft
from weft.nn import functional as F

import reference
from checking import check_operation


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [1, 5, 40])
def test_cross_entropy(rng, reduction, smoothing, classes):
    target = rng.integers(0, classes, 6)
    target[[1, 4]] = -100
    check_operation(
        lambda x: F.cross_entropy(x, target, reduction=reduction, label_smoothing=smoothing),
        lambda x: reference.cross_entropy(x, target, -100, smoothing, reduction),
        {"x": rng.standard_normal((6, classes)) * 3},
    )


def test_classes_in_the_second_axis_and_single_rows(rng):
    x, target = rng.standard_normal((2, 5, 3)), rng.integers(0, 5, (2, 3))
    rows = lambda x: x.transpose(0, 2, 1).reshape(-1, 5)
    check_operation(lambda x: F.cross_entropy(x, target), lambda x: reference.cross_entropy(rows(x), target.ravel()), {"x": x})
    assert F.cross_entropy(weft.tensor([0.0, 0.0]), weft.tensor(1)).item() == pytest.approx(np.log(2))


def test_large_logits_and_all_ignored():
    x = weft.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, [1])
    loss.backward()
    assert loss.item() == 2e4 and np.asarray(x.grad).tolist() == [[1.0, -1.0, 0.0]]
    assert np.isnan(F.cross_entropy(weft.tensor([[1.0, 2.0]]), [-100]).item())


def test_refusals():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(IndexError, match=r"\[cross_entropy\] target: expected indices in 0..3, got 3 at position 0"):
        F.cross_entropy(x, [3, 0])
    with pytest.raises(weft.ShapeError, match=r"\[cross_entropy\] target: expected shape \[2\], got \[3\]"):
        F.cross_entropy(x, [0, 1, 2])
    with pytest.raises(weft.ConfigError, match="expected one of 'mean', 'sum', 'none', got 'avg'"):
        F.cross_entropy(x, [0, 1], reduction="avg")
