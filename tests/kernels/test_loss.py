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


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_cross_entropy(rng, reduction, smoothing, bias):
    target = rng.integers(0, 37, 9)
    target[[1, 4]] = 5000
    inputs = {"x": rng.standard_normal((9, 5)), "w": rng.standard_normal((37, 5))}
    if bias:
        inputs["b"] = rng.standard_normal(37)
    options = {"ignore_index": 5000, "reduction": reduction, "label_smoothing": smoothing}
    check_operation(
        lambda x, w, b=None: F.linear_cross_entropy(x, w, target, b, **options),
        lambda x, w, b=0.0: reference.cross_entropy(x @ w.T + b, target, 5000, smoothing, reduction),
        inputs,
    )


@pytest.mark.parametrize("rows, size, classes", [(50, 3, 200_000), (9, 40, 150), (5, 33, 128), (3, 8, 65), (1, 1, 1)])
def test_chunks_of_logits_give_what_all_of_them_give(rng, rows, size, classes):
    # 4 Mi numbers a chunk: 50 rows of 200,000 classes come in three chunks. Whole panels of 64 classes, and some beside.
    x = weft.tensor(rng.standard_normal((rows, size)), requires_grad=True)
    w = weft.tensor(rng.standard_normal((size, classes)).T, requires_grad=True)
    target = rng.integers(0, classes, rows)
    F.linear_cross_entropy(x, w, target).backward()
    dx, dw = np.asarray(x.grad), np.asarray(w.grad)
    x.grad = w.grad = None
    F.cross_entropy(F.linear(x, w), target).backward()
    np.testing.assert_allclose(dx, np.asarray(x.grad), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(dw, np.asarray(w.grad), rtol=1e-9, atol=1e-15)


def test_wide_logits_leave_no_subnormal_gradients(rng):
    """Each subnormal number costs the products behind it a hundred cycles: what comes near becomes 0."""
    x = weft.tensor(np.ones((3, 1), np.float32), requires_grad=True)
    logits = np.linspace(0, -110, 200, dtype=np.float32)
    w = weft.tensor(logits[:, None].copy(), requires_grad=True)
    F.linear_cross_entropy(x, w, [0, 0, 1]).backward()
    g = w.grad.numpy()[:, 0]
    tiny = np.finfo(np.float32).tiny
    assert ((g == 0) | (np.abs(g) >= tiny)).all() and (g[150:] == 0).all()
    p = np.exp(logits.astype(np.float64))
    wished = p / p.sum() - np.bincount([0, 0, 1], minlength=200) / 3
    np.testing.assert_allclose(g, wished, rtol=1e-5, atol=1e-30)


def test_a_kept_tape_does_not_share_its_gradients(rng):
    w = weft.tensor(rng.standard_normal((6, 4)), requires_grad=True)
    loss = F.linear_cross_entropy(rng.standard_normal((5, 4)), w, rng.integers(0, 6, 5))
    loss.backward(retain_graph=True)
    first = np.array(w.grad)
    w.grad.numpy()[...] = 0.0
    w.grad = None
    loss.backward()
    assert (np.asarray(w.grad) == first).all()


def test_linear_cross_entropy_over_axes_without_rows_and_without_gradients(rng):
    x, w = rng.standard_normal((2, 3, 4)).astype(np.float32), weft.tensor(rng.standard_normal((6, 4)).astype(np.float32))
    target = rng.integers(0, 6, (2, 3))
    want = F.cross_entropy(F.linear(x, w).reshape(6, 6), target.ravel()).item()
    assert F.linear_cross_entropy(x, w, target).item() == pytest.approx(want, rel=1e-6)
    w.requires_grad = True
    loss = F.linear_cross_entropy(np.zeros((0, 4), np.float32), w, np.zeros(0, np.int64), reduction="sum")
    loss.backward()
    assert loss.item() == 0.0 and not np.asarray(w.grad).any()
    with pytest.raises(weft.ShapeError, match=r"\[linear_cross_entropy\] input: expected shape \[N, 4\] \(2 dimensions\)"):
        F.linear_cross_entropy(np.zeros((2, 5), np.float32), w, [0, 1])
    with pytest.raises(IndexError, match=r"\[linear_cross_entropy\] target: expected indices in 0..6, got 6 at position 1"):
        F.linear_cross_entropy(np.zeros((2, 4), np.float32), w, [0, 6])


def test_classes_in_the_second_axis_and_single_rows(rng):
    x, target = rng.standard_normal((2, 5, 3)), rng.integers(0, 5, (2, 3))
    rows = lambda x: x.transpose(0, 2, 1).reshape(-1, 5)
    check_operation(lambda x: F.cross_entropy(x, target), lambda x: reference.cross_entropy(rows(x), target.ravel()), {"x": x})
    assert F.cross_entropy(weft.tensor([0.0, 0.0]), weft.tensor(1)).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights(rng, reduction, smoothing):
    target, weight = np.array([0, 3, -100, 2, 2]), np.array([0.5, 2.0, 1.0, 0.0])

    def want(x):
        logp = x - np.log(np.exp(x).sum(1, keepdims=True))
        seen = target != -100
        own = np.where(seen, weight[np.where(seen, target, 0)], 0.0)
        sharp = -np.take_along_axis(logp, np.where(seen, target, 0)[:, None], 1)[:, 0] * own
        losses = (1 - smoothing) * sharp - smoothing / 4 * (logp * weight).sum(1) * seen
        return losses if reduction == "none" else losses.sum() / (own.sum() if reduction == "mean" else 1.0)

    options = {"reduction": reduction, "label_smoothing": smoothing}
    check_operation(lambda x: F.cross_entropy(x, target, weight, **options), want, {"x": rng.standard_normal((5, 4))})
    layer = weft.nn.CrossEntropyLoss(weight, **options)
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0, 0.0]])
@pytest.mark.parametrize("more", [(), (3,)])
def test_targets_that_are_probabilities(rng, reduction, smoothing, weight, more):
    chances = rng.dirichlet(np.ones(4), (5, *more))
    chances = np.moveaxis(chances, -1, 1)

    def want(x):
        logp = x - np.log(np.exp(x).sum(1, keepdims=True))
        wide = np.ones(4) if weight is None else np.array(weight)
        losses = -(logp * wide.reshape(1, 4, *[1] * len(more)) * ((1 - smoothing) * chances + smoothing / 4)).sum(1)
        return {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction]

    options = {"reduction": reduction, "label_smoothing": smoothing}
    check_operation(
        lambda x: F.cross_entropy(x, chances.astype(x.dtype), weight, **options), want, {"x": rng.standard_normal((5, 4, *more))}
    )


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
    with pytest.raises(weft.ShapeError, match=r"weight: expected shape \[3\], got \[2\]"):
        F.cross_entropy(x, [0, 1], weight=[1.0, 2.0])
    with pytest.raises(weft.ShapeError, match=r"target: expected probabilities of shape \[2, 3\], got \[2\]"):
        F.cross_entropy(x, [0.5, 0.5])
    with pytest.raises(IndexError, match="got 3"):
        F.cross_entropy(x, [3, 0], weight=[1.0, 2.0, 1.0])
