"""Sums, means, maxima."""

import numpy as np
import pytest

import weft
from weft.autograd.reduction import draw_array, top_k_array

from checking import check_operation


@pytest.mark.parametrize("dim", [None, 0, 1, 2, -1, (0, 2), (0, 1), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_sum_and_mean(rng, dim, keepdim):
    inputs = {"x": rng.standard_normal((3, 4, 5))}
    check_operation(lambda x: x.sum(dim, keepdim), lambda x: x.sum(axis=dim, keepdims=keepdim), inputs)
    check_operation(lambda x: x.mean(dim, keepdim), lambda x: x.mean(axis=dim, keepdims=keepdim), inputs)


@pytest.mark.parametrize("shape", [(100_003,), (700, 33), (3, 70_000), (70_000, 3), (0, 4), (4, 0), ()])
def test_whole_numbers_add_up_exactly(rng, shape):
    x = rng.integers(-8, 8, shape).astype(np.float32)
    for axis in [None, *range(x.ndim)]:
        assert (np.asarray(weft.tensor(x).sum(axis)) == x.sum(axis=axis, dtype=np.float64)).all()


@pytest.mark.parametrize("dim", [0, 1])
def test_max_and_min_over_an_axis(rng, dim):
    inputs = {"x": rng.standard_normal((3, 4))}
    check_operation(lambda x: x.max(dim).values, lambda x: x.max(axis=dim), inputs)
    check_operation(lambda x: x.min(dim, keepdim=True).values, lambda x: x.min(axis=dim, keepdims=True), inputs)


def test_max_over_all(rng):
    inputs = {"x": rng.standard_normal((3, 4))}
    check_operation(lambda x: x.max(), lambda x: x.max(), inputs)
    x = weft.tensor([[1.0, 5.0], [7.0, 2.0]])
    assert x.max(1).indices.tolist() == [1, 0] and x.argmax(0).tolist() == [1, 0]


def test_an_axis_that_does_not_exist_is_refused():
    with pytest.raises(weft.ConfigError, match=r"\[sum\] dim: expected a whole number from -2 to 1, got 2"):
        weft.tensor([[1.0]]).sum(2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width, k", [(1, 1), (5, 3), (64, 5), (8000, 7), (3, 9)])
def test_top_k(rng, dtype, width, k):
    x = rng.integers(0, 40, (17, width)).astype(dtype)
    x[3] = -np.inf
    x[4, 0] = np.nan
    values, indices = top_k_array(x, k)
    assert values.dtype == dtype and values.shape == (17, min(k, width))
    for row, (v, i) in enumerate(zip(values, indices, strict=True)):
        order = [j for j in np.argsort(-x[row], kind="stable") if x[row, j] > -np.inf][: min(k, width)]
        assert i[: len(order)].tolist() == order and (i[len(order) :] == -1).all()
        assert (v[: len(order)] == x[row, order]).all() and (v[len(order) :] == -np.inf).all()
    beside = np.full((1, 128), 50.0, dtype)
    beside[0, 64], beside[0, 80] = 100.0, np.nan
    assert top_k_array(beside, 1)[1][0, 0] == 64
    assert top_k_array(x[:0], k)[0].shape == (0, min(k, width))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows, width", [(1, 1), (17, 5), (64, 256), (3, 8000), (0, 4)])
def test_draw(rng, dtype, rows, width):
    for temperature in (1.0, 0.3, 7.0):
        scores = (4.0 * rng.standard_normal((rows, width))).astype(dtype)
        uniforms = rng.uniform(0.0, 1.0, rows)
        if rows > 4:
            scores[0, 1:], scores[1, 0], scores[2] = -np.inf, -np.inf, -np.inf
            uniforms[:3], uniforms[3:5] = 0.999, (0.0, np.nextafter(1.0, 0.0))
        p = weft.softmax(weft.tensor(scores.astype(np.float64) / temperature), -1).numpy()
        sums = np.cumsum(p, 1)
        got = draw_array(scores, uniforms, temperature)
        assert got.dtype == np.int64 and got.shape == (rows,)
        for r, place in enumerate(got):
            passed = np.flatnonzero(sums[r] > uniforms[r] * sums[r, -1])
            assert place == (passed[0] if len(passed) else np.argmax(sums[r] == sums[r, -1]))
            if np.isfinite(scores[r]).any():
                assert p[r, place] > 0.0
        if width == 8000:
            # One row's draw does not depend on the others.
            assert draw_array(scores[1:2], uniforms[1:2], temperature)[0] == got[1]
