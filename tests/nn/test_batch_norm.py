"""Batch normalization against its equations; SwiGLU; the Noam schedule."""

import numpy as np
import pytest

import weft
from weft import nn
from weft.nn import functional as F

from checking import check_operation


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6), (2, 1, 1)])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_batch_norm(rng, shape, with_lengths):
    lengths = np.minimum(np.arange(shape[0]) + 1, shape[2]) if with_lengths and len(shape) == 3 else None

    def plain(x, weight, bias):
        axes, wide = ((0,), (1, -1)) if x.ndim == 2 else ((0, 2), (1, -1, 1))
        keep = (
            np.ones(x.shape, bool)
            if lengths is None
            else np.broadcast_to(np.arange(x.shape[2]) < lengths[:, None, None], x.shape)
        )
        count = keep.sum(axes, keepdims=True)
        mean = np.where(keep, x, 0).sum(axes, keepdims=True) / count
        var = np.where(keep, (x - mean) ** 2, 0).sum(axes, keepdims=True) / count
        return np.where(keep, (x - mean) / np.sqrt(var + 1e-5) * weight.reshape(wide) + bias.reshape(wide), 0)

    inputs = {"x": rng.standard_normal(shape), "weight": rng.standard_normal(shape[1]), "bias": rng.standard_normal(shape[1])}
    check_operation(
        lambda x, weight, bias: F.batch_norm(x, None, None, weight, bias, True, lengths=lengths), plain, inputs, gradient=2e-6
    )


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics(rng, momentum):
    layer = nn.BatchNorm1d(3, momentum=momentum, dtype=np.float64)
    seen = [rng.standard_normal((6, 3, 4)) + i for i in range(3)]
    mean, var = np.zeros(3), np.ones(3)
    for i, x in enumerate(seen, 1):
        layer(x)
        share = momentum if momentum is not None else 1 / i
        mean = (1 - share) * mean + share * x.mean((0, 2))
        var = (1 - share) * var + share * x.var((0, 2), ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-12)
    layer.eval()
    expected = (seen[0] - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
    np.testing.assert_allclose(np.asarray(layer(seen[0]).detach()), expected, rtol=1e-10)
    assert set(layer.state_dict()) == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert int(layer.num_batches_tracked.numpy()) == 3


def test_padding_never_counts(rng):
    x = rng.standard_normal((2, 3, 5)).astype(np.float32)
    layer = nn.BatchNorm1d(3)
    first = np.asarray(layer(x, lengths=[5, 2]).detach())
    x[1, :, 2:] = np.nan
    again = np.asarray(nn.BatchNorm1d(3)(x, lengths=[5, 2]).detach())
    assert (first == again).all() and (first[1, :, 2:] == 0).all()


def test_refusals():
    with pytest.raises(weft.ShapeError, match=r"input: expected shape \[N, 3\] or \[N, 3, L\]"):
        nn.BatchNorm1d(3)(np.zeros((2, 4), np.float32))
    with pytest.raises(weft.ShapeError, match="more than one value a channel in training, got 1"):
        nn.BatchNorm1d(3)(np.zeros((1, 3), np.float32))


def test_swiglu(rng):
    check_operation(
        F.swiglu, lambda input: input[:, :3] / (1 + np.exp(-input[:, :3])) * input[:, 3:], {"input": rng.standard_normal((4, 6))}
    )
    layer = nn.TransformerEncoderLayer(8, 2, 12, activation="swiglu")
    assert layer.linear1.weight.shape == (24, 8) and layer(weft.randn(3, 2, 8)).shape == (3, 2, 8)


def test_noam():
    p = nn.Parameter(np.zeros(1, np.float32))
    optimizer = weft.optim.Adam([p], lr=2.0)
    schedule = weft.optim.lr_scheduler.Noam(optimizer, d_model=512, warmup=10)
    rates = []
    for _ in range(30):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    expected = [2.0 * 512**-0.5 * min(n**-0.5, n * 10**-1.5) for n in range(1, 31)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert np.argmax(rates) == 9
