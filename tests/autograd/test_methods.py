"""Methods of tensors that are composed of others, or NumPy's with a gradient."""

import numpy as np
import pytest

import weft

from checking import check_operation

X = {"x": np.random.default_rng(3).standard_normal((3, 4, 5))}


@pytest.mark.parametrize("dim", [None, 1, (0, 2), -1])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("correction", [0, 1])
def test_variance_and_deviation(dim, keepdim, correction):
    options = {"axis": dim, "keepdims": keepdim, "ddof": correction}
    check_operation(lambda x: x.var(dim, keepdim, correction=correction), lambda x: np.var(x, **options), X)
    check_operation(lambda x: x.std(dim, keepdim, correction=correction), lambda x: np.std(x, **options), X)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cumulative_sums(dim):
    check_operation(lambda x: x.cumsum(dim), lambda x: np.cumsum(x, dim), X)
    whole = weft.tensor([[1, 2, 3], [4, 5, 6]])
    assert whole.cumsum(1).tolist() == [[1, 3, 6], [4, 9, 15]] and weft.tensor([True, True]).cumsum(0).tolist() == [1, 2]


@pytest.mark.parametrize("dim", [0, (1, 2), -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_log_sum_exp(dim, keepdim):
    check_operation(lambda x: x.logsumexp(dim, keepdim), lambda x: np.log(np.exp(x).sum(dim, keepdims=keepdim)), X)
    far = weft.tensor([[1000.0, 1000.0], [-np.inf, -np.inf], [-np.inf, 0.0], [np.inf, 0.0]])
    assert far.logsumexp(1).tolist() == [pytest.approx(1000.0 + np.log(2.0)), -np.inf, 0.0, np.inf]
    assert weft.zeros(2, 0).logsumexp(1).tolist() == [-np.inf, -np.inf]


def test_clamp():
    check_operation(lambda x: x.clamp(-0.5, 0.7), lambda x: np.clip(x, -0.5, 0.7), X)
    check_operation(lambda x: x.clamp(min=0.1), lambda x: np.maximum(x, 0.1), X)
    edge = weft.tensor([-1.0, 1.0, 2.0], requires_grad=True)
    edge.clamp(-1, 1).sum().backward()
    assert edge.grad.tolist() == [1.0, 1.0, 0.0]
    with pytest.raises(weft.ConfigError, match="expected at least one of them, got none"):
        edge.clamp()


@pytest.mark.parametrize(("dim", "shape"), [(0, (7, 4, 3)), (1, (3, 2, 5)), (-1, (1, 1, 9)), (1, (3, 0, 5))])
def test_gather(rng, dim, shape):
    places = rng.integers(0, X["x"].shape[dim], shape)

    def want(x):
        return np.take_along_axis(x[tuple(slice(n) if i != dim % 3 else slice(None) for i, n in enumerate(shape))], places, dim)

    check_operation(lambda x: x.gather(dim, places), want, X)


def test_gather_refuses():
    x = weft.zeros(3, 4)
    with pytest.raises(IndexError, match=r"\[gather\] index: expected places in 0..4, got 0 to 4"):
        x.gather(1, [[0, 4]])
    with pytest.raises(weft.ShapeError, match="index: expected 2 dimensions, none but 1 longer"):
        x.gather(1, [0, 1])
    with pytest.raises(weft.DtypeError, match="expected whole numbers"):
        x.gather(1, [[0.5]])


def test_dtypes_and_places():
    x = weft.tensor([1.5, -2.5], requires_grad=True)
    (x.double() * 3.0).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [3.0, 3.0]
    assert x.to(np.float64).dtype == np.float64 and x.to("float64").dtype == np.float64 and x.long().tolist() == [1, -2]
    assert x.float() is x and x.to("cpu") is x and x.to("cpu", np.float64).dtype == np.float64
    assert weft.tensor([0, 2]).to(bool).tolist() == [False, True]
    with pytest.raises(weft.ConfigError, match="device: expected one of 'cpu', got 'cuda:0'"):
        x.to("cuda:0")
    with pytest.raises(weft.DtypeError, match="expected float32, float64, whole numbers or bool, got float16"):
        x.to(np.float16)


def test_slices_extremes_and_truth():
    check_operation(lambda x: weft.stack(x.unbind(1), 0), lambda x: np.moveaxis(x, 1, 0), X)
    with pytest.raises(weft.ShapeError, match=r"\[unbind\] expected a tensor with axes, got a single number"):
        weft.tensor(1.0).unbind()
    x = weft.tensor([[3.0, 1.0], [1.0, 1.0]])
    assert x.argmin().item() == 1 and x.argmin(1).tolist() == [1, 0] and x.argmin(0, keepdim=True).tolist() == [[1, 0]]
    assert (x > 2.0).any().item() and not (x > 2.0).all().item() and weft.zeros(0).all().item()
