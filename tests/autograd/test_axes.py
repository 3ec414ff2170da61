"""Axes: which one is meant, and what has none."""

import numpy as np
import pytest

import weft

from checking import check_operation

CALLS = {
    "sum": lambda x, d: x.sum(d),
    "mean": lambda x, d: x.mean(d),
    "max": lambda x, d: x.max(d),
    "min": lambda x, d: x.min(d),
    "argmax": lambda x, d: x.argmax(d),
    "softmax": lambda x, d: x.softmax(d),
    "log_softmax": lambda x, d: x.log_softmax(d),
    "squeeze": lambda x, d: x.squeeze(d),
    "flatten": lambda x, d: x.flatten(d),
    "transpose": lambda x, d: x.transpose(0, d),
    "permute": lambda x, d: x.permute(d, 0, 1),
    "cat": lambda x, d: weft.cat([x, x], d),
    "split": lambda x, d: x.split(1, d),
    "chunk": lambda x, d: x.chunk(2, d),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dim", [3, -4, 7])
def test_an_axis_that_is_not_there(name, dim):
    with pytest.raises(weft.AxisError, match=rf"\[{name}\] dim: expected a whole number from -3 to 2, got {dim}"):
        CALLS[name](weft.zeros(1, 2, 3), dim)


@pytest.mark.parametrize("dim", [4, -5])
def test_a_new_axis_has_one_place_more(dim):
    x = weft.zeros(1, 2, 3)
    for call in (x.unsqueeze, lambda d: weft.stack([x, x], d)):
        with pytest.raises(IndexError, match="from -4 to 3"):
            call(dim)
    assert x.unsqueeze(3).shape == (1, 2, 3, 1) and x.unsqueeze(-4).shape == (1, 1, 2, 3)


@pytest.mark.parametrize("dim", [0, -1])
def test_a_number_has_one_axis_to_go_over(dim):
    x = weft.tensor(2.5, requires_grad=True)
    assert [CALLS[n](x, dim).item() for n in ("sum", "mean", "argmax", "softmax", "squeeze", "transpose")] == [
        2.5,
        2.5,
        0,
        1,
        2.5,
        2.5,
    ]
    values, where = x.max(dim)
    assert values.item() == 2.5 and where.item() == 0 and values.shape == where.shape == ()
    assert x.flatten().shape == (1,)
    with pytest.raises(weft.AxisError):
        x.sum(1)


def test_flatten_takes_axes_from_both_ends_and_empty_ones():
    x = weft.zeros(2, 0, 3, 4)
    assert x.flatten(1, 2).shape == (2, 0, 4) and x.flatten(-2).shape == (2, 0, 12)
    with pytest.raises(weft.ConfigError, match="start_dim: expected an axis up to end_dim 1, got 2"):
        x.flatten(2, 1)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.bool_])
def test_whole_numbers_become_what_they_meet(kind):
    whole = weft.tensor(np.array([0, 1, 1], kind))
    for dtype in (np.float32, np.float64):
        x = weft.tensor(np.array([1.5, 2.0, -1.0], dtype))
        for y in (x + whole, whole * x, x - whole, whole / x, weft.maximum(x, whole), weft.where([True, False, True], whole, x)):
            assert y.dtype == dtype
    assert (whole * 1.5).tolist() == [0.0, 1.5, 1.5] and (whole * 1.5).dtype == np.float32
    assert (whole / 2).dtype == np.float32


def test_a_number_to_the_power_of_a_tensor(rng):
    check_operation(lambda x: 2.0**x, lambda x: np.power(2.0, x), {"x": rng.standard_normal((3, 4))})
    with pytest.raises(weft.ConfigError, match="base: expected a number above 0, got -2.0"):
        (-2.0) ** weft.ones(2)


def test_infinite_gradients_come_without_warnings(recwarn):
    x = weft.tensor([0.0, 1.0], requires_grad=True)
    (1.0 / x).sum().backward()
    x.log().sum().backward()
    assert len(recwarn) == 0 and not np.isfinite(np.asarray(x.grad)[0])


def test_two_vectors(rng):
    check_operation(lambda x, y: x @ y, lambda x, y: x @ y, {"x": rng.standard_normal(5), "y": rng.standard_normal(5)})


@pytest.mark.parametrize("call", ["max", "min", "argmax", "argmin"])
def test_nothing_has_no_extreme(call):
    with pytest.raises(
        weft.errors.ShapeError, match=rf"\[{call}\] input: expected at least one number along axis 1, got \[2, 0\]"
    ):
        getattr(weft.zeros(2, 0), call)(1)
    with pytest.raises(weft.errors.ShapeError, match=rf"\[{call}\] input: expected at least one number, got \[0\]"):
        getattr(weft.zeros(0), call)()
    found = getattr(weft.zeros(0, 2), call)(1)
    assert (found if call.startswith("arg") else found[0]).shape == (0,)
