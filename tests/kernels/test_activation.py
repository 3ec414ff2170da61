"""Activations and softmax."""

import numpy as np
import pytest

import weft
from weft.nn import functional as F

import reference
from checking import check_operation


@pytest.mark.parametrize(
    "f, g", [(F.tanh, np.tanh), (F.sigmoid, reference.sigmoid), (F.relu, lambda x: np.maximum(x, 0)), (F.gelu, reference.gelu),
             (lambda x: F.gelu(x, "tanh"), reference.gelu_tanh)]
)  # fmt: skip
@pytest.mark.parametrize("shape", [(7,), (2, 33), (), (0, 3)])
def test_activations(rng, f, g, shape):
    check_operation(lambda x: f(x), lambda x: g(x), {"x": rng.standard_normal(shape) * 2})


@pytest.mark.parametrize("f, g", [(F.softmax, reference.softmax), (F.log_softmax, reference.log_softmax)])
@pytest.mark.parametrize("shape, dim", [((3, 5), -1), ((3, 5), 0), ((2, 3, 17), 1), ((4, 1), -1), ((40,), 0)])
def test_softmax(rng, f, g, shape, dim):
    check_operation(lambda x: f(x, dim), lambda x: g(x, dim), {"x": rng.standard_normal(shape) * 3})


def test_softmax_of_large_and_missing_scores():
    x = weft.tensor(np.array([[1e4, 0.0, -1e4], [-np.inf, 0.0, 0.0], [-np.inf] * 3], np.float32), requires_grad=True)
    y = F.softmax(x)
    assert y.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    y.sum().backward()
    assert np.isfinite(np.asarray(x.grad)).all()
