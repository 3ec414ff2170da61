"""Layer normalisation."""

import numpy as np
import pytest

import weft
from weft.nn import functional as F

import reference
from checking import check_operation


@pytest.mark.parametrize("shape", [(4, 7), (2, 3, 33), (1, 16), (0, 5)])
def test_layer_norm(rng, shape):
    d = shape[-1]
    inputs = {"x": rng.standard_normal(shape) + 3, "w": rng.standard_normal(d), "b": rng.standard_normal(d)}
    check_operation(lambda x, w, b: F.layer_norm(x, [d], w, b), lambda x, w, b: reference.layer_norm(x, w, b), inputs)
    check_operation(lambda x: F.layer_norm(x, [d]), lambda x: reference.layer_norm(x), {"x": inputs["x"]})


def test_several_axes_are_one(rng):
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    both = weft.nn.LayerNorm([3, 4])(x)
    assert (np.asarray(both).reshape(2, 12) == np.asarray(F.layer_norm(x.reshape(2, 12), [12]))).all()
    with pytest.raises(weft.ShapeError, match=r"\[layer_norm\] input: expected last dimensions \[3, 4\], got \[2, 4, 3\]"):
        weft.nn.LayerNorm([3, 4])(x.reshape(2, 4, 3))
