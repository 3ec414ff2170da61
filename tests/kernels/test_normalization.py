"""Layer normalisation."""

import numpy as np
import pytest

import weft
from weft import nn
from weft.nn import functional as F

import reference
from checking import check_operation


@pytest.mark.parametrize("shape", [(4, 7), (2, 3, 33), (1, 16), (0, 5)])
def test_layer_norm(rng, shape):
    d = shape[-1]
    inputs = {"x": rng.standard_normal(shape) + 3, "w": rng.standard_normal(d), "b": rng.standard_normal(d)}
    check_operation(lambda x, w, b: F.layer_norm(x, [d], w, b), lambda x, w, b: reference.layer_norm(x, w, b), inputs)
    check_operation(lambda x: F.layer_norm(x, [d]), lambda x: reference.layer_norm(x), {"x": inputs["x"]})


@pytest.mark.parametrize("shape", [(4, 7), (2, 3, 33), (70, 16), (0, 5)])
def test_rms_norm_and_residuals_in_front(rng, shape):
    d = shape[-1]
    inputs = {"x": rng.standard_normal(shape) + 3, "r": rng.standard_normal(shape), "w": rng.standard_normal(d)}
    shifted = {**inputs, "b": rng.standard_normal(d)}
    check_operation(lambda x, w, r: F.rms_norm(x, [d], w, 1e-5), lambda x, w, r: reference.rms_norm(x, w), inputs, without=("r",))
    check_operation(
        lambda x, r, w: F.add_rms_norm(x, r, [d], w, 1e-5), lambda x, r, w: (reference.rms_norm(x + r, w), x + r), inputs
    )
    check_operation(
        lambda x, r, w, b: F.add_layer_norm(x, r, [d], w, b),
        lambda x, r, w, b: (reference.layer_norm(x + r, w, b), x + r),
        shifted,
    )


def test_a_residual_in_front_changes_no_bit(rng):
    x, r = (weft.tensor(rng.standard_normal((5, 40)).astype(np.float32), requires_grad=True) for _ in range(2))
    y, total = F.add_layer_norm(x, r, [40])
    assert (np.asarray(total) == np.asarray(x + r)).all()
    assert (np.asarray(y) == np.asarray(F.layer_norm(x + r, [40]))).all()
    y.sum().backward()
    assert (np.asarray(x.grad) == np.asarray(r.grad)).all()
    with pytest.raises(weft.ShapeError, match=r"\[rms_norm\] residual: expected shape \[5, 40\], got \[5, 4\]"):
        F.add_rms_norm(x, np.zeros((5, 4), np.float32), [40])


def test_rms_norm_as_a_layer(rng):
    layer = weft.nn.RMSNorm(6)
    assert list(layer.state_dict()) == ["weight"] and layer(np.ones((2, 6), np.float32)).shape == (2, 6)
    assert list(weft.nn.RMSNorm([2, 3], elementwise_affine=False).parameters()) == []


def test_several_axes_are_one(rng):
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    both = weft.nn.LayerNorm([3, 4])(x)
    assert (np.asarray(both).reshape(2, 12) == np.asarray(F.layer_norm(x.reshape(2, 12), [12]))).all()
    with pytest.raises(weft.ShapeError, match=r"\[layer_norm\] input: expected last dimensions \[3, 4\], got \[2, 4, 3\]"):
        weft.nn.LayerNorm([3, 4])(x.reshape(2, 4, 3))


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_rows_from_afar_have_the_bits_of_rows_at_hand(rng, norm):
    # 3,003 rows of 400 numbers lie beyond a second-level cache, where some processors take rows one by one; seven do not.
    layer = norm(400)
    x, g = (rng.standard_normal((3003, 400)).astype(np.float32) for _ in range(2))

    def both_ways(rows):
        leaf = weft.tensor(x[rows], requires_grad=True)
        y = layer(leaf)
        y.backward(weft.tensor(g[rows]))
        return y.detach().numpy(), leaf.grad.numpy()

    whole = both_ways(slice(None))
    for first in range(0, 3003, 7):
        rows = slice(first, first + 7)
        assert all((a[rows] == b).all() for a, b in zip(whole, both_ways(rows), strict=True))
