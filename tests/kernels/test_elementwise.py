"""Arithmetic and functions of single numbers."""

import numpy as np
import pytest

import weft

import reference
from checking import check_operation

BINARY = [
    ("add", lambda a, b: a + b), ("sub", lambda a, b: a - b), ("mul", lambda a, b: a * b), ("div", lambda a, b: a / b),
]  # fmt: skip


@pytest.mark.parametrize("name, f", BINARY)
@pytest.mark.parametrize(
    "a, b", [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2,)), ((0, 3), (3,)), ((1500,), (1500,))]
)
def test_arithmetic_broadcasts(rng, name, f, a, b):
    inputs = {"a": rng.standard_normal(a), "b": rng.uniform(0.5, 2.0, b)}
    if np.prod(a) > 1000:
        inputs = {n: x for n, x in inputs.items()}
        x, y = (weft.tensor(v.astype(np.float32)) for v in inputs.values())
        assert (np.asarray(f(x, y)) == f(np.asarray(x), np.asarray(y))).all()
    else:
        check_operation(f, f, inputs)


@pytest.mark.parametrize(
    "f, g, low",
    [(weft.exp, np.exp, -3), (weft.log, np.log, 0.1), (weft.erf, reference.erf, -2), (weft.sqrt, np.sqrt, 0.1),
     (abs, np.abs, 0.1), (lambda x: -x, lambda x: -x, -1), (lambda x: x**3, lambda x: x**3, -1), (lambda x: x**-2, lambda x: x**-2.0, 0.5),
     (lambda x: x**0.5, np.sqrt, 0.2), (lambda x: x**1.7, lambda x: x**1.7, 0.2), (lambda x: 2.0 - 3.0 / x, lambda x: 2 - 3 / x, 0.5)],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(7,), (3, 5), (), (0,), (33,)])
def test_functions(rng, f, g, low, shape):
    check_operation(lambda x: f(x), lambda x: g(x), {"x": rng.uniform(low, 3, shape)})


def test_where_masks_and_extremes(rng):
    mask = rng.random((3, 4)) < 0.5
    inputs = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((3, 4))}
    check_operation(lambda a, b: weft.where(mask, a, b), lambda a, b: np.where(mask, a, b), inputs)
    check_operation(weft.maximum, lambda a, b: np.maximum(a, b), inputs)
    check_operation(weft.minimum, lambda a, b: np.minimum(a, b), inputs)
    check_operation(lambda a: a.masked_fill(mask, -2.0), lambda a: np.where(mask, -2.0, a), {"a": inputs["a"]})


def test_comparisons_give_bools():
    a = weft.tensor([1.0, 2.0, 3.0])
    assert ((a > 2.0).tolist(), (a == 2.0).tolist(), (a <= 2.0).tolist()) == (
        [False, False, True],
        [False, True, False],
        [True, True, False],
    )


def test_nothing_is_cast_silently():
    with pytest.raises(weft.DtypeError, match=r"\[add\] expected one dtype, got float32 and float64"):
        weft.tensor([1.0]) + np.ones(1)
    assert (weft.tensor(np.ones(1)) + 1.5).dtype == np.float64
