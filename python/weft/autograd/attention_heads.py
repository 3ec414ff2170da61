"""Multi-head attention on the parts of projections, and the weights of chosen heads and rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _native
from .buffers import contiguous, empty
from .matmul import multiply
from .reduction import sum_array
from .tensor import Tensor, record, wants, wrap


class Part(NamedTuple):
    """Where queries, keys or values lie: which tensor, its first column, heads, and columns of a head."""

    source: int
    first: int
    heads: int
    width: int


class Layout(NamedTuple):
    """How the axes lie: 'batch' [B, T, heads · D], 'time' [T, B, heads · D], 'heads' [B, heads, T, D]."""

    axes: str
    parts: tuple[Part, Part, Part]

    def view(self, array: np.ndarray, part: Part) -> np.ndarray:
        """[B, T, heads, D] of a part, in place."""
        if self.axes == "heads":
            return array.transpose(0, 2, 1, 3)
        last = array[..., part.first : part.first + part.heads * part.width]
        rows = last.reshape(last.shape[:2] + (part.heads, part.width))
        return rows if self.axes == "batch" else rows.transpose(1, 0, 2, 3)

    def context(self, dtype: Any, rows: np.ndarray, values: int) -> np.ndarray:
        """A new array for contexts [B, T, N, E], laid out as the queries `rows` are, heads side by side."""
        batch, targets, heads, _ = rows.shape
        if self.axes == "heads":
            return empty((batch, heads, targets, values), dtype)
        return empty((batch, targets, heads * values) if self.axes == "batch" else (targets, batch, heads * values), dtype)

    def merged(self, array: np.ndarray, heads: int, values: int) -> np.ndarray:
        """[B, T, N, E] of an array of contexts."""
        return self.view(array, Part(0, 0, heads, values))


class Options(NamedTuple):
    """What decides which keys a row sees, and the rest of a call; see the kernel."""

    scale: float
    causal: bool = False
    window: int | None = None
    lengths: np.ndarray | None = None
    #: How many rows [B] are there; those beyond see nothing.
    rows: np.ndarray | None = None
    starts: np.ndarray | None = None
    #: Added to scores: [B, N, T, S], axes of size 1 broadcast.
    biases: tuple[np.ndarray, ...] = ()
    #: Probability, key and stream.
    dropout: tuple[float, int, int] | None = None


class Chosen(NamedTuple):
    """Weights that are asked for: heads and rows in order, or the mean of the heads."""

    heads: Sequence[int]
    rows: Sequence[int]
    mean: bool


def _bias(bias: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if bias.shape[-1] > 1 and bias.strides[-1] != bias.itemsize:
        bias = np.ascontiguousarray(bias)
    return np.broadcast_to(bias, shape)


def attend(
    sources: Sequence[Tensor], layout: Layout, options: Options, chosen: Chosen | None = None
) -> tuple[Tensor, Tensor | None]:
    """Contexts of every head, laid out as the queries are, and the chosen weights [B, heads, rows, S] ([B, rows, S] for the mean).

    softmax(scale · q·kᵀ + biases) · v for each head; gradients are written into one array a source.
    """
    arrays = [contiguous(t._array) for t in sources]
    q, k, v = (layout.view(arrays[p.source], p) for p in layout.parts)
    heads, values = q.shape[2], v.shape[3]
    biases = [_bias(b, (q.shape[0], heads, q.shape[1], k.shape[1])) for b in options.biases]
    request = _request([q, k, v], options, biases, options.dropout, None)
    context = layout.context(q.dtype, q, values)
    rows = layout.merged(context, heads, values)
    recorded = wants(*sources)
    statistics = _native.heads_forward(request, rows, recorded or chosen is not None)
    weights = None
    if chosen is not None:
        assert statistics is not None
        weights = _weights(sources, arrays, layout, request, statistics, chosen)
    if not recorded:
        return wrap(context), weights
    assert statistics is not None

    def rule(g: np.ndarray) -> list[np.ndarray]:
        gradients, views = _gradients(arrays, layout)
        _native.heads_backward(request, rows, *statistics, layout.merged(contiguous(g), heads, values), views)
        return gradients

    return record("multi_head_attention", context, sources, rule), weights


def _gradients(arrays: list[np.ndarray], layout: Layout) -> tuple[list[np.ndarray], list[np.ndarray]]:
    gradients = [empty(a.shape, a.dtype) for a in arrays]
    for i, gradient in enumerate(gradients):
        columns = sum(p.heads * p.width for p in layout.parts if p.source == i)
        if layout.axes != "heads" and columns < gradient.shape[-1]:
            gradient.fill(0)
    return gradients, [layout.view(gradients[p.source], p) for p in layout.parts]


def _weights(
    sources: Sequence[Tensor],
    arrays: list[np.ndarray],
    layout: Layout,
    request: Any,
    statistics: tuple[np.ndarray, np.ndarray],
    chosen: Chosen,
) -> Tensor:
    heads, rows, mean = list(chosen.heads), list(chosen.rows), chosen.mean
    weights = _native.heads_weights(request, *statistics, heads, rows, mean)

    def rule(g: np.ndarray) -> list[np.ndarray]:
        # dS = P ∘ (dP − Σ P ∘ dP) · scale for the chosen heads, whose weights are made again.
        [q, k, _], scale, *_, dropout, _ = request
        gradients, (dq, dk, _) = _gradients(arrays, layout)
        for gradient in gradients:
            gradient.fill(0)
        group = q.shape[2] // k.shape[2]
        for place, head in enumerate(heads):
            p = _native.heads_weights((*request[:-2], None, None), *statistics, [head], rows, True)
            d = g / g.dtype.type(len(heads)) if mean else g[:, place]
            if dropout is not None:
                kept = _native.heads_weights(request, *statistics, [head], rows, True)
                with np.errstate(invalid="ignore", divide="ignore"):
                    d = d * np.where(p > 0, kept / p, 0).astype(p.dtype)
            ds = contiguous(p * (d - sum_array(p * d, [2], True)) * p.dtype.type(scale))
            dq[:, rows, head] += multiply(ds, contiguous(k[:, :, head // group]))
            dk[:, :, head // group] += multiply(ds.swapaxes(1, 2), contiguous(q[:, rows, head]))
        return gradients

    return record("attention_weights", weights, sources, rule)


def attend_arrays(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    options: Options,
    chosen: Chosen | None = None,
    pages: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Contexts [B, T, N · E] of views [B, T, N, D] over keys and values [B, S, N, ·], or over a cache in `pages` (see `nn.KeyValueCache`),
    and chosen weights. Nothing is recorded."""
    batch, targets, heads, _ = query.shape
    width = values.shape[3]
    context = empty((batch, targets, heads * width), query.dtype)
    request = _request([query, keys, values], options, [], None, pages)
    statistics = _native.heads_forward(request, context.reshape(batch, targets, heads, width), chosen is not None)
    if chosen is None:
        return context, None
    assert statistics is not None
    return context, _native.heads_weights(request, *statistics, list(chosen.heads), list(chosen.rows), chosen.mean)


def _request(views: list[np.ndarray], options: Options, biases: Any, dropout: Any, pages: np.ndarray | None) -> Any:
    """What the kernel is asked, in the order of the binding."""
    o = options
    return views, o.scale, o.causal, o.window, o.lengths, o.rows, o.starts, biases, dropout, pages


def copy_pages(keys: np.ndarray, values: np.ndarray, old: np.ndarray, new: np.ndarray, used: np.ndarray) -> None:
    """The first `used` positions of the pages `old` become those of the pages `new`, in place; see `nn.KeyValueCache`."""
    _native.pages_copy(keys, values, old, new, used)


def write_pages(keys: np.ndarray, values: np.ndarray, pages: np.ndarray, slots: np.ndarray, k: np.ndarray, v: np.ndarray) -> None:
    """Writes k and v [B, T, heads, D] at the places [B, T]: a slot of a page, each once."""
    _native.pages_write(keys, values, np.ascontiguousarray(pages), np.ascontiguousarray(slots), k, v)
