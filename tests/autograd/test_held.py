"""What a tape holds: what its rules read, and nothing else; an array that no rule reads is gone with its tensor."""

import weakref

import numpy as np
import pytest

import weft
from weft.nn import functional as F


def leaf(*shape):
    return weft.tensor(np.ones(shape, np.float32), requires_grad=True)


@pytest.mark.parametrize(
    "name, make, after",
    [
        ("linear", lambda: F.linear(leaf(3, 4), leaf(4, 4), leaf(4)), lambda x: F.dropout(x, 0.5)),
        ("input of add_layer_norm", lambda: F.dropout(leaf(3, 4), 0.5), lambda x: F.add_layer_norm(x, leaf(3, 4), [4])[0]),
        ("factor of a constant", lambda: leaf(3, 4) + 1.0, lambda x: x * 2.0),
        ("constant factor's product", lambda: leaf(3, 4) * 2.0, lambda x: x + 1.0),
    ],
)
def test_what_no_rule_reads_is_gone(name, make, after):
    x = make()
    array = x._array
    while isinstance(array.base, np.ndarray):
        array = array.base
    held, result = weakref.ref(array), after(x)
    del x, array
    assert held() is None
    result.sum().backward()


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "gelu"])
def test_a_second_backward_pass_finds_the_same(rng, activation):
    x, w, scale = (weft.tensor(rng.standard_normal((4, 4)), requires_grad=True) for _ in range(3))
    y = (F.linear(x, w, activation=activation) * scale).sum()
    y.backward(retain_graph=True)
    first = [t.grad.numpy().copy() for t in (x, w, scale)]
    y.backward()
    assert all((t.grad.numpy() == 2 * f).all() for t, f in zip((x, w, scale), first, strict=True))
