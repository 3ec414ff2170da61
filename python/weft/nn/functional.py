"""Functions of layers without their parameters, as `torch.nn.functional`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor
from ..autograd import attention as attention_room
from ..autograd import loss as loss_room
from ..autograd.activation import gelu as _gelu
from ..autograd.activation import log_softmax, relu, sigmoid, softmax, tanh
from ..autograd.dropout import dropout as _dropout
from ..autograd.embedding import embedding as _embedding
from ..autograd.matmul import linear as _linear
from ..autograd.normalization import normalize
from ..errors import DtypeError, ShapeError, range_error, shape_error
from ..random import default_generator
from .functional_attention import multi_head_attention_forward, scaled_dot_product_attention

__all__ = [
    "add_layer_norm", "add_rms_norm", "attention", "batch_norm", "cross_entropy", "dropout", "embedding", "gelu", "layer_norm",
    "linear", "linear_cross_entropy", "log_softmax", "multi_head_attention_forward", "relu", "rms_norm",
    "scaled_dot_product_attention", "sigmoid", "silu", "softmax", "swiglu", "tanh",
]  # fmt: skip


def linear(
    input: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = None,
    dropout: float = 0.0,
    residual: Tensor | None = None,
) -> Tensor:
    """dropout(f(input [..., I] · weightᵀ [I, O] + bias [O])) + residual → [..., O].

    `activation`: 'relu', 'gelu', 'gelu_tanh', 'tanh', 'sigmoid' or None; `dropout`: a probability (0 outside of training); `residual`
    [..., O]. All are computed while the product is still in the first-level cache, to the same bits as operations of their own.

    >>> F.linear(weft.tensor([[1.0, 2.0]]), weft.tensor([[3.0, 4.0]])).tolist()
    [[11.0]]
    """
    if dropout == 0.0:
        return _linear(input, weight, bias, activation, residual)
    if not 0.0 <= dropout <= 1.0:
        raise range_error("linear", "dropout", "a number from 0 to 1", dropout)
    return _linear(input, weight, bias, activation, residual, (dropout, *default_generator().next()))


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of weight [V, D] by whole numbers [...] → [..., D]; the row `padding_idx` gets no gradient."""
    return _embedding(input, weight, padding_idx)


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Zeroes elements with probability p and scales the others by 1 / (1 − p), in training (Srivastava et al. 2014).

    p is rounded to a 65,536th.
    """
    if not 0.0 <= p <= 1.0:
        raise range_error("dropout", "p", "a number from 0 to 1", p)
    a = as_tensor(input)
    return a if not training or p == 0.0 else _dropout(a, p, *default_generator().next())


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """input · Φ(input) (Hendrycks & Gimpel 2016); `approximate="tanh"` for the approximation."""
    return _gelu(as_tensor(input), approximate)


def silu(input: Any) -> Tensor:
    """x · sigmoid(x) (Elfwing et al. 2018; "swish").

    >>> F.silu(weft.tensor([0.0])).tolist()
    [0.0]
    """
    x = as_tensor(input)
    return x * sigmoid(x)


def swiglu(input: Any) -> Tensor:
    """silu(a) · b for the halves a, b of the last axis (Shazeer 2020, "GLU variants", without its products): [..., 2 · D] → [..., D].

    >>> F.swiglu(weft.ones(3, 8)).shape
    (3, 4)
    """
    x = as_tensor(input)
    if x.ndim == 0 or x.shape[-1] % 2:
        raise shape_error("swiglu", "input", "an even last dimension", x.shape)
    half = x.shape[-1] // 2
    return silu(x[..., :half]) * x[..., half:]


def batch_norm(
    input: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    lengths: Any = None,
) -> Tensor:
    """Each channel of [N, C] or [N, C, L] normalized over the batch (Ioffe & Szegedy 2015, alg. 1), as torch's function of this name.

    In training by the batch's mean and biased variance, which also move the running ones (unbiased there) by `momentum`; else by the
    running ones. `lengths` [N]: steps of [N, C, L] beyond count in no statistic and give zeros.
    """
    x = as_tensor(input)
    if x.ndim not in (2, 3):
        raise shape_error("batch_norm", "input", "shape [N, C] or [N, C, L]", x.shape)
    channels = x.shape[1]
    for name, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if t is not None and t.shape != (channels,):
            raise shape_error("batch_norm", name, f"shape [{channels}]", t.shape)
    if lengths is not None and x.ndim != 3:
        raise shape_error("batch_norm", "input", "shape [N, C, L] beside lengths", x.shape)
    axes, wide = ((0,), (1, channels)) if x.ndim == 2 else ((0, 2), (1, channels, 1))
    keep, count = None, math.prod(x.shape) // max(1, channels)
    if lengths is not None:
        sizes = as_lengths("batch_norm", lengths, x.shape[0], x.shape[2])
        assert sizes is not None
        keep, count = np.arange(x.shape[2]) < sizes[:, None, None], int(sizes.sum())
        x = x.masked_fill(~keep, 0.0)
    if training or running_mean is None or running_var is None:
        if training and count < 2:
            raise ShapeError(f"[batch_norm] input: expected more than one value a channel in training, got {count}")
        mean = x.sum(axes, keepdim=True) * (1.0 / count)
        centred = x - mean
        if keep is not None:
            centred = centred.masked_fill(~keep, 0.0)
        var = (centred * centred).sum(axes, keepdim=True) * (1.0 / count)
        if training and running_mean is not None and running_var is not None:
            for running, now in ((running_mean, mean._array), (running_var, var._array * (count / (count - 1)))):
                running.copy_(running._array * (1 - momentum) + now.reshape(-1).astype(running.dtype) * momentum)
    else:
        centred, var = x - running_mean.reshape(wide), running_var.reshape(wide)
    y = centred / (var + eps).sqrt()
    if weight is not None:
        y = y * weight.reshape(wide)
    if bias is not None:
        y = y + bias.reshape(wide)
    return y if keep is None else y.masked_fill(~keep, 0.0)


def _normalize(
    kind: str,
    input: Any,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    residual: Any = None,
) -> Any:
    a, shape = as_tensor(input), tuple(normalized_shape)
    if a.shape[a.ndim - len(shape) :] != shape:
        raise shape_error(kind, "input", f"last dimensions {list(shape)}", a.shape)
    more = None if residual is None else as_tensor(residual)
    return normalize(kind, a, math.prod(shape), weight, bias, eps, more)


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x − mean) / √(variance + eps) · weight + bias over the last axes (Ba et al. 2016, eq. 4)."""
    return _normalize("layer_norm", input, normalized_shape, weight, bias, eps)


def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / √(mean(x²) + eps) · weight over the last axes (Zhang & Sennrich 2019, eq. 4); eps is the dtype's machine epsilon by default.

    >>> F.rms_norm(weft.tensor([[3.0, 4.0]]), [2], eps=0.0).numpy().round(4).tolist()
    [[0.8485000133514404, 1.1313999891281128]]
    """
    a = as_tensor(input)
    return _normalize("rms_norm", a, normalized_shape, weight, None, _epsilon(a, eps))


def _epsilon(a: Tensor, eps: float | None) -> float:
    return float(np.finfo(a.dtype if a.dtype.kind == "f" else np.float32).eps) if eps is None else eps


def add_layer_norm(
    input: Any,
    residual: Any,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """s = input + residual and layer_norm(s), as (normalised, s), in one pass forward and one back.

    >>> y, s = F.add_layer_norm(weft.tensor([[1.0, 2.0]]), weft.tensor([[2.0, 5.0]]), [2])
    >>> s.tolist(), y.numpy().round(3).tolist()
    ([[3.0, 7.0]], [[-1.0, 1.0]])
    """
    return _normalize("layer_norm", input, normalized_shape, weight, bias, eps, residual)


def add_rms_norm(
    input: Any, residual: Any, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> tuple[Tensor, Tensor]:
    """s = input + residual and rms_norm(s), as (normalised, s), in one pass forward and one back."""
    a = as_tensor(input)
    return _normalize("rms_norm", a, normalized_shape, weight, None, _epsilon(a, eps), residual)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(input)[target], with label smoothing (Szegedy et al. 2016, §7).

    `input` [V], [N, V] or [N, V, …]; `target` whole numbers [], [N] or [N, …], or probabilities of the classes in the shape of `input`.
    Positions that hold `ignore_index` count nothing; `reduction` is 'mean' (over the others), 'sum' or 'none'. `weight` [V] counts each
    class so many times; a mean over whole numbers is then divided by the weights of the targets, as in torch. All ignored gives NaN
    for the mean.

    >>> round(F.cross_entropy(weft.tensor([[0.0, 0.0], [2.0, 0.0]]), [1, 0], weight=[1.0, 3.0]).item(), 4)
    0.5516
    """
    a, t = as_tensor(input), as_tensor(target)
    shape = t.shape
    likely = t.dtype.kind == "f"
    if likely and shape != a.shape:
        raise shape_error("cross_entropy", "target", f"probabilities of shape {list(a.shape)}", shape)
    if a.ndim == 1:
        a, t = a.reshape(1, -1), t.reshape(1, -1) if likely else t.reshape(1)
    if a.ndim > 2:
        if not likely and shape != (a.shape[0], *a.shape[2:]):
            raise shape_error("cross_entropy", "target", f"shape {[a.shape[0], *a.shape[2:]]}", shape)
        order = 0, *range(2, a.ndim), 1
        width = a.shape[1]
        t = t.permute(order).reshape(-1, width) if likely else t.reshape(-1)
        a = a.permute(order).reshape(-1, width)
        shape = (shape[0], *shape[2:]) if likely else shape
    elif likely:
        shape = shape[:-1]
    if weight is None and not likely:
        losses = loss_room.cross_entropy(a, t, ignore_index, reduction, label_smoothing)
    else:
        losses = loss_room.weighted_cross_entropy(a, t, weight, ignore_index, reduction, label_smoothing)
    return losses.reshape(shape) if reduction == "none" and losses.shape != shape else losses


def linear_cross_entropy(
    input: Any,
    weight: Tensor,
    target: Any,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """cross_entropy(linear(input, weight, bias), target) without the logits [N, V] ever being stored.

    `input` [..., D], `weight` [V, D], `bias` [V], `target` whole numbers [...]. The logits exist a few hundred rows at a time, and
    each chunk is turned into its gradients at once, so the backward pass is a product with the loss's own gradient, and memory
    grows with N·D and V·D only (the idea of Wijmans et al. 2024). `reduction="none"` stores the logits.

    >>> w = weft.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    >>> round(F.linear_cross_entropy(weft.tensor([[1.0]]), w, [2]).item(), 4)
    0.4076
    """
    a, t = as_tensor(input, weight), as_tensor(target)
    if a.ndim != 2:
        flat = loss_room.linear_cross_entropy(
            a.reshape(-1, a.shape[-1] if a.ndim else 1), weight, t.reshape(-1), bias, ignore_index, reduction, label_smoothing
        )
        return flat.reshape(t.shape) if reduction == "none" else flat
    return loss_room.linear_cross_entropy(a, weight, t, bias, ignore_index, reduction, label_smoothing)


def as_lengths(who: str, lengths: Any, batch: int, most: int) -> np.ndarray | None:
    """Lengths [B] as the kernels want them; refuses other shapes and numbers outside of 0..most."""
    if lengths is None:
        return None
    array = as_tensor(lengths)._array
    if array.dtype.kind not in "iu":
        raise DtypeError(f"[{who}] lengths: expected whole numbers, got {array.dtype}")
    if array.shape != (batch,):
        raise shape_error(who, "lengths", f"shape [{batch}]", array.shape)
    if batch and not (array.min() >= 0 and array.max() <= most):
        raise range_error(who, "lengths", f"whole numbers from 0 to {most}", array.tolist())
    return np.ascontiguousarray(array, np.int64)


def attention(
    query: Any, key: Any, value: Any, *, energy: Tensor | None = None, scale: float = 1.0, lengths: Any = None
) -> tuple[Tensor, Tensor]:
    """Context [B, T, E] and weights [B, T, S] of decoder states over encoder states.

    Query [B, T, D], key [B, S, D], value [B, S, E]. Scores are scale · q·k (Luong et al. 2015), or with an energy vector [D]
    energy · tanh(q + k) (Bahdanau et al. 2015). Keys beyond `lengths` [B] take no part and are never read.
    """
    q, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
    for name, t in (("query", q), ("key", k), ("value", v)):
        if t.ndim != 3:
            raise shape_error("attention", name, "3 dimensions [B, T, D]", t.shape)
    if k.shape[0] != q.shape[0] or k.shape[2] != q.shape[2]:
        raise shape_error("attention", "key", f"shape [{q.shape[0]}, S, {q.shape[2]}]", k.shape)
    if v.shape[:2] != k.shape[:2]:
        raise shape_error("attention", "value", f"shape [{k.shape[0]}, {k.shape[1]}, E]", v.shape)
    if not q.dtype == k.dtype == v.dtype:
        raise DtypeError(f"[attention] expected one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    if energy is not None and energy.shape != (q.shape[2],):
        raise ShapeError(f"[attention] energy: expected shape [{q.shape[2]}], got {list(energy.shape)}")
    return attention_room.attention(q, k, v, energy, scale, as_lengths("attention", lengths, k.shape[0], k.shape[1]))
