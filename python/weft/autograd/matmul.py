"""Products of matrices, and linear layers on packed weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _native
from ..errors import DtypeError, ShapeError, choice_error, shape_error
from .buffers import contiguous
from .reduction import sum_array, sum_to
from .tensor import Tensor, as_tensor, record, wants, wrap


def packed(owner: Tensor, key: Any, others: tuple[Tensor | None, ...], make: Any) -> Any:
    """What `make` packs from tensors, kept on `owner` until the generation of any of them changes (ARCHITECTURE.md, decisions)."""
    generations = [owner.generation]
    if not owner._may_cache():
        return make()
    for t in others:
        if t is not None:
            if not t._may_cache():
                return make()
            generations.append(t.generation)
    if owner._packed is None:
        owner._packed = {}
    kept = owner._packed.get(key)
    if kept is None or kept[0] != generations:
        kept = generations, make()
        owner._packed[key] = kept
    return kept[1]


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two matrices, or of two stacks of them, with any strides."""
    if min(a.strides, default=0) < 0 or (a.ndim == 3 and not a.flags.c_contiguous):
        a = contiguous(a)
    if min(b.strides, default=0) < 0:
        b = contiguous(b)
    return _native.matmul(a, b)


def _matrices(x: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    """A stack [batches, rows, columns]; axes that are swapped stay a view where the leading axes allow it."""
    x = np.broadcast_to(x, batch + x.shape[-2:])
    return x.reshape((math.prod(batch), *x.shape[-2:])) if len(batch) != 1 else x


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b as NumPy and torch define it: vectors, matrices, and stacks that broadcast."""
    a, b = as_tensor(a), as_tensor(b)
    if a.dtype != b.dtype or a.dtype.kind != "f":
        raise DtypeError(f"[matmul] expected two arrays of float32 or of float64, got {a.dtype} and {b.dtype}")
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"[matmul] expected arrays with axes, got shapes {list(a.shape)} and {list(b.shape)}")
    if a.ndim == 1:
        return matmul(a.reshape(1, -1), b).squeeze(-1 if b.ndim == 1 else -2)
    if b.ndim == 1:
        return matmul(a, b.reshape(-1, 1)).squeeze(-1)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"[matmul] expected inner sizes that agree, got {list(a.shape)} and {list(b.shape)}")
    x, y = a._array, b._array
    if b.ndim == 2:
        # A stack times one matrix is one product.
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if a.ndim != 2 else x
        result = multiply(rows, y).reshape(x.shape[:-1] + (y.shape[1],))

        def rule(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            flat = g.reshape(len(rows), y.shape[1])
            return multiply(flat, y.T).reshape(x.shape), multiply(rows.T, flat)

        return record("matmul", result, (a, b), rule)
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"[matmul] expected stacks that broadcast, got {list(a.shape)} and {list(b.shape)}") from None
    left, right = _matrices(x, batch), _matrices(y, batch)

    def stacked_rule(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = _matrices(g, batch)
        dx = multiply(flat, right.swapaxes(1, 2)).reshape(batch + x.shape[-2:])
        dy = multiply(left.swapaxes(1, 2), flat).reshape(batch + y.shape[-2:])
        return sum_to(dx, x.shape), sum_to(dy, y.shape)

    result = multiply(left, right).reshape(batch + (x.shape[-2], y.shape[-1]))
    return record("matmul", result, (a, b), stacked_rule)


#: Activations that follow a product in the same pass; GELU's backward pass needs the numbers before it.
ACTIVATIONS = {"relu": False, "tanh": False, "sigmoid": False, "gelu": True, "gelu_tanh": True}


def linear(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    dropout: tuple[float, int, int] | None = None,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """dropout(f(x · weightᵀ + bias)) + residual for x [..., I], weight [O, I], bias [O]; with `rows`, of these rows of weight and bias.

    The weight is packed once for each of its generations.
    """
    x = as_tensor(x, weight)
    w, array = weight._array, x._array
    shape, dtype = array.shape, array.dtype
    if dtype is not w.dtype and dtype != w.dtype:
        raise DtypeError(f"[linear] input: expected {w.dtype}, got {dtype}")
    if not shape or shape[-1] != w.shape[1]:
        raise shape_error("linear", "input", f"last dimension {w.shape[1]}", shape)
    if activation is not None and activation not in ACTIVATIONS:
        raise choice_error("linear", "activation", ACTIVATIONS, activation)
    shift = None if bias is None else bias._array
    if rows is not None:
        w, shift = w[slice(*rows)], None if shift is None else shift[slice(*rows)]
    flat_in = contiguous(array)
    flat_out = out = (*shape[:-1], w.shape[0])
    if len(shape) != 2:
        flat_in = flat_in.reshape(math.prod(shape[:-1]), shape[-1])
        flat_out = flat_in.shape[0], w.shape[0]
    if residual is not None and (residual.shape != out or residual.dtype != dtype):
        raise shape_error("linear", "residual", f"{dtype} of shape {list(out)}", residual.shape)
    more = None if residual is None else contiguous(residual._array).reshape(flat_out)
    recorded = wants(x, weight, bias, residual)
    # Behind a residual the result does not tell the activation's output any more, behind dropout only what ReLU needs.
    hidden = residual is not None or (dropout is not None and activation != "relu")
    before = recorded and activation is not None and (ACTIVATIONS[activation] or hidden)
    y, kept = _native.linear(flat_in, pack_linear(weight, rows), shift, activation, dropout, more, before)
    result = y if len(shape) == 2 else y.reshape(out)
    if not recorded:
        return wrap(result)
    # What the activation's slope is found from; without one the tape does not hold the result.
    slope = None if activation is None else y if kept is None else kept
    again = activation is not None and kept is not None and not ACTIVATIONS[activation]
    parents = x, weight, bias, residual
    needs = [p is not None and p.requires_grad for p in parents]

    def rule(g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        flat = contiguous(g).reshape(flat_out)
        d = flat if dropout is None else _native.dropout(flat, *dropout)
        if activation is not None and slope is not None:
            saved = _native.activation_forward(activation, slope) if again else slope
            d = _native.activation_backward(activation, saved, d)
        return (
            multiply(d, w).reshape(shape) if needs[0] else None,
            _among(_native.weight_gradient(d, flat_in), rows, weight.shape) if needs[1] else None,
            _among(sum_array(d, [0]), rows, weight.shape[:1]) if needs[2] else None,
            g if needs[3] else None,
        )

    return record("linear", result, parents, rule)


def _among(gradient: np.ndarray, rows: tuple[int, int] | None, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of some rows as that of all."""
    if rows is None:
        return gradient
    whole = np.zeros(shape, gradient.dtype)
    whole[slice(*rows)] = gradient
    return whole


def pack_linear(weight: Tensor, rows: tuple[int, int] | None = None) -> Any:
    """The weight [O, I], or some of its rows, packed for x · weightᵀ."""
    if rows is None:
        return packed(weight, "linear", (), lambda: _native.pack(weight._array.T))
    return packed(weight, ("linear", rows), (), lambda: _native.pack(weight._array[slice(*rows)].T))
