"""Products and linear layers."""

import numpy as np
import pytest

import weft
from weft.nn import functional as F

import reference
from checking import check_operation


@pytest.mark.parametrize(
    "a, b", [((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
             ((2, 1, 3, 4), (5, 4, 2)), ((0, 4), (4, 3)), ((1, 1), (1, 1))]
)  # fmt: skip
def test_matmul_follows_numpy(rng, a, b):
    inputs = {"a": rng.standard_normal(a), "b": rng.standard_normal(b)}
    check_operation(lambda a, b: a @ b, lambda a, b: a @ b, inputs)


def test_whole_numbers_are_exact(rng):
    for dtype in (np.float32, np.float64):
        a, b = rng.integers(-9, 9, (67, 130)).astype(dtype), rng.integers(-9, 9, (130, 71)).astype(dtype)
        assert (np.asarray(weft.tensor(a) @ weft.tensor(b)) == a @ b).all()


def test_strided_views_need_no_copy_and_are_right(rng):
    big = rng.integers(-9, 9, (40, 60)).astype(np.float32)
    for view in (big[::2, 1::3], big.T[5:25, ::2], big[::-1, ::-1], np.broadcast_to(big[:1], (40, 60))):
        other = rng.integers(-9, 9, (view.shape[1], 9)).astype(np.float32)
        assert (np.asarray(weft.tensor(view) @ weft.tensor(other)) == view @ other).all()
        assert (np.asarray(weft.matmul(view, other)) == view @ other).all()


def test_infinity_and_nan_go_through():
    a = np.array([[np.inf, 0.0], [np.nan, 1.0]], np.float32)
    got = np.asarray(weft.matmul(a, np.array([[1.0], [2.0]], np.float32)))
    assert got[0, 0] == np.inf and np.isnan(got[1, 0])


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (4,), (0, 4)])
def test_linear(rng, shape):
    inputs = {"x": rng.standard_normal(shape), "w": rng.standard_normal((5, 4)), "b": rng.standard_normal(5)}
    check_operation(lambda x, w, b: F.linear(x, w, b), lambda x, w, b: x @ w.T + b, inputs)


def test_refusals_name_the_shapes():
    with pytest.raises(weft.ShapeError, match=r"\[matmul\] expected inner sizes that agree, got \[2, 3\] and \[4, 5\]"):
        weft.matmul(np.ones((2, 3), np.float32), np.ones((4, 5), np.float32))
    with pytest.raises(weft.DtypeError, match="float32 and float64"):
        weft.matmul(np.ones((2, 3), np.float32), np.ones((3, 2)))
    with pytest.raises(weft.ShapeError, match=r"\[linear\] input: expected last dimension 3, got \[2, 4\]"):
        weft.nn.Linear(3, 2)(np.ones((2, 4), np.float32))


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("residual", [False, True])
def test_a_linear_layer_takes_activation_and_residual_along(rng, activation, residual):
    inputs = {"x": rng.standard_normal((2, 9, 5)), "w": rng.standard_normal((70, 5)), "b": rng.standard_normal(70)}
    if residual:
        inputs["r"] = rng.standard_normal((2, 9, 70))
    check_operation(
        lambda x, w, b, r=None: F.linear(x, w, b, activation=activation, residual=r),
        lambda x, w, b, r=0.0: reference.activate(activation, x @ w.T + b) + r,
        inputs,
    )


def test_the_epilogue_changes_no_bit(rng):
    x, w, b, r = (rng.standard_normal(s).astype(np.float32) for s in [(33, 70), (90, 70), (90,), (33, 90)])
    w = weft.tensor(w)
    for name, plain in [("relu", F.relu), ("tanh", F.tanh), ("sigmoid", F.sigmoid), ("gelu", F.gelu)]:
        fused = F.linear(x, w, weft.tensor(b), activation=name, residual=weft.tensor(r))
        assert (np.asarray(fused) == np.asarray(plain(F.linear(x, w, weft.tensor(b)))) + r).all(), name
    with pytest.raises(weft.ConfigError, match=r"\[linear\] activation: expected one of 'relu', .*, got 'selu'"):
        F.linear(x, w, activation="selu")


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "gelu"])
@pytest.mark.parametrize("residual", [False, True])
def test_dropout_in_the_epilogue_changes_no_bit_of_result_and_gradients(rng, activation, residual):
    shapes = [(33, 20), (91, 20), (91,), (33, 91)]
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    seed = rng.standard_normal((33, 91)).astype(np.float32)

    def run(fused):
        weft.manual_seed(3)
        x, w, b, r = (weft.tensor(a, requires_grad=True) for a in arrays)
        if fused:
            y = F.linear(x, w, b, activation=activation, dropout=0.3, residual=r if residual else None)
        else:
            y = F.dropout(F.linear(x, w, b, activation=activation), 0.3)
            y = y + r if residual else y
        y.backward(seed)
        return [y, x.grad, w.grad, b.grad, *([r.grad] if residual else [])]

    for one, other in zip(run(True), run(False), strict=True):
        assert (np.asarray(one) == np.asarray(other)).all()
    assert 0.25 < float(np.mean(np.asarray(run(True)[0] if not residual else run(True)[0] - weft.tensor(arrays[3])) == 0)) < 0.75
    with pytest.raises(weft.ConfigError, match="dropout: expected a number from 0 to 1"):
        F.linear(arrays[0], weft.tensor(arrays[1]), dropout=1.5)
