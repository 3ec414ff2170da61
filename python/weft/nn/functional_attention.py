"""Attention as functions: `scaled_dot_product_attention` and `multi_head_attention_forward` as torch has them.

The kernels never store the scores. What a mask forbids at the ends of a row, lengths, the causal line and windows are no work at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor, as_tensor, cat, masked_fill, matmul
from ..autograd.activation import softmax
from ..autograd.attention_heads import Chosen, Layout, Options, Part, attend
from ..autograd.dropout import dropout as drop
from ..autograd.matmul import linear
from ..autograd.rotary import rotate
from ..errors import ConfigError, DtypeError, ShapeError, range_error, shape_error
from ..random import default_generator

WHO = "multihead_attention"


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    lengths: Any = None,
    key_lengths: Any = None,
    window: int | None = None,
    rotary: float | None = None,
    weights_of: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Any:
    """softmax(query · keyᵀ · scale + mask) · value (Vaswani et al. 2017, eq. 1), as torch's function of this name.

    query [..., L, E], key [..., S, E], value [..., S, Ev] → [..., L, Ev]; `scale` 1/√E by default. `attn_mask` [..., L, S]: bool, True
    where attention is allowed, or numbers that are added. `is_causal`: row i sees keys 0 to i (the upper left corner). `dropout_p`: weights
    fall with this probability, always. `enable_gqa`: fewer heads (axis −3) in key and value than in the query. `key_lengths` [B], for four
    axes: keys beyond are never read; `lengths` [B]: queries beyond give zeros and are no work. `window`: row i sees keys less than this far
    from i. `rotary`: the base of rotary positions (10000 in Su et al. 2021, eq. 34), which turn query and key; E is even. A row without any
    key gives zeros.

    `weights_of=(heads, rows)`: also the weights [..., heads, rows, S] of these heads (axis −3; one head where there is no such axis) and
    rows, after dropout, at a cost in proportion: a tuple comes back.

    Scores are computed in blocks by online softmax (Dao et al. 2022), forward and backward: memory grows with L + S, not L · S.

    >>> q = weft.randn(2, 4, 8)
    >>> weft.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True).shape
    (2, 4, 8)
    >>> output, weights = weft.nn.functional.scaled_dot_product_attention(q, q, q, weights_of=([1], [0, 3]))
    >>> output.shape, weights.shape
    ((2, 4, 8), (1, 2, 4))
    """
    q, k, v = _checked(query, key, value, dropout_p)
    if attn_mask is not None and is_causal:
        raise ConfigError("[attention] is_causal: expected no attn_mask beside it")
    check_window(window)
    heads = q.shape[-3] if q.ndim > 2 else 1
    groups = k.shape[-3] if k.ndim > 2 else 1
    if enable_gqa and (groups == 0 or heads % groups or v.shape[-3] != groups):
        raise ShapeError(f"[attention] enable_gqa: expected heads of key and value that divide {heads}, got {groups}")
    shared = 3 if enable_gqa else 2
    try:
        batch = np.broadcast_shapes(q.shape[:-shared], k.shape[:-shared], v.shape[:-shared])
    except ValueError:
        raise ShapeError(
            f"[attention] expected leading axes that agree, got {list(q.shape)}, {list(k.shape)}, {list(v.shape)}"
        ) from None
    if enable_gqa:
        q, k, v = (_widened_to(t, batch + t.shape[-3:]) for t in (q, k, v))
        leading = (*batch, heads)
    else:
        q, k, v = (_widened_to(t, batch + t.shape[-2:]) for t in (q, k, v))
        leading = batch
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    if rotary is not None:
        q, k = _turned(q, rotary), _turned(k, rotary)
    chosen = None
    if weights_of is not None:
        present = leading[-1] if leading else 1
        rows = _picked("attention", "rows", weights_of[1], q.shape[-2])
        chosen = Chosen(_picked("attention", "heads", weights_of[0], present), rows, False)
    mask = as_tensor(attn_mask) if attn_mask is not None else None
    if mask is not None and mask.dtype == np.bool_:
        mask = Tensor(~mask._array)
    scores = (*leading, q.shape[-2], k.shape[-2])
    if mask is not None and mask.requires_grad:
        if any(given is not None for given in (lengths, key_lengths, window, weights_of)) or enable_gqa:
            raise ConfigError(
                "[attention] attn_mask: expected no lengths, window, weights_of or enable_gqa beside a mask that learns"
            )
        return _stored(q, k, v, [mask], dropout_p, scale)[0]
    biases = [] if mask is None else [_bias(mask, scores, q.dtype)]
    # Leading axes become the batch; the last of them the heads.
    split = len(leading) - 1 if leading else 0
    four = [t.reshape((math.prod(t.shape[:split]), *t.shape[split:]) if leading else (1, 1, *t.shape)) for t in (q, k, v)]
    sizes = four[0].shape[:2]
    biases = [_reshaped(b, leading, sizes) for b in biases]
    there = _lengths("attention", lengths, sizes[0], q.shape[-2])
    key_ends = _lengths("attention", key_lengths, sizes[0], k.shape[-2])
    parts = tuple(Part(i, 0, t.shape[1], t.shape[3]) for i, t in enumerate(four))
    options = Options(scale, is_causal, window, key_ends, there, None, tuple(biases), _drawn(dropout_p))
    context, weights = attend(four, Layout("heads", (parts[0], parts[1], parts[2])), options, chosen)
    context = context.reshape((*leading, q.shape[-2], v.shape[-1]))
    return context if weights is None else (context, weights.reshape((*leading[:-1], *weights.shape[1:])))


def _turned(t: Tensor, base: float) -> Tensor:
    width = t.shape[-1]
    check_rotary("attention", base, width)
    return rotate(t.reshape((math.prod(t.shape[:-2]), *t.shape[-2:])), width, width, base, 1).reshape(t.shape)


def _widened_to(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    return t if t.shape == shape else t.expand(*shape)


def _reshaped(bias: np.ndarray, leading: tuple[int, ...], sizes: tuple[int, ...]) -> np.ndarray:
    """A mask with axes for leading ones, as [B, N, L, S] or what broadcasts to it."""
    if not leading:
        return bias.reshape((1, 1) + bias.shape[-2:])
    bias = bias.reshape((1,) * (len(leading) + 2 - bias.ndim) + bias.shape)
    if all(n == 1 for n in bias.shape[:-3]):
        return bias.reshape((1, bias.shape[-3]) + bias.shape[-2:])
    return np.broadcast_to(bias, leading + bias.shape[-2:]).reshape(sizes + bias.shape[-2:])


def _checked(query: Any, key: Any, value: Any, dropout: float) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
    for name, t in (("query", q), ("key", k), ("value", v)):
        if t.ndim < 2:
            raise shape_error("attention", name, "at least 2 dimensions", t.shape)
    if not q.dtype == k.dtype == v.dtype or q.dtype.kind != "f":
        raise DtypeError(f"[attention] expected one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"[attention] expected query [L, E], key [S, E], value [S, Ev], got {list(q.shape)}, {list(k.shape)}, {list(v.shape)}"
        )
    if not 0.0 <= dropout <= 1.0:
        raise range_error("attention", "dropout_p", "a number from 0 to 1", dropout)
    return q, k, v


def check_window(window: int | None) -> None:
    """Refuses windows that hold no key."""
    if window is not None and (isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < 1):
        raise range_error("attention", "window", "a whole number from 1", window)


def check_rotary(who: str, base: float | None, width: int) -> None:
    """Refuses positions that cannot turn pairs of columns."""
    if base is not None and (width < 2 or width % 2 or not base > 0):
        raise ConfigError(f"[{who}] rotary: expected a positive base and an even width of a head, got {base}, {width}")


def _lengths(who: str, lengths: Any, batch: int, most: int) -> np.ndarray | None:
    from .functional import as_lengths

    return as_lengths(who, lengths, batch, most)


def _drawn(dropout: float) -> tuple[float, int, int] | None:
    return None if dropout == 0.0 else (dropout, *default_generator().next())


def _bias(mask: Tensor, scores: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A mask as numbers to add; True is where nothing is allowed."""
    if mask.dtype != np.bool_ and mask.dtype.kind != "f":
        raise DtypeError(f"[attention] mask: expected bool or floats, got {mask.dtype}")
    try:
        fits = np.broadcast_shapes(mask.shape, scores) == scores
    except ValueError:
        fits = False
    if not fits or mask.ndim < 2:
        raise shape_error("attention", "mask", f"a shape that broadcasts to {list(scores)}", mask.shape)
    if mask.dtype == np.bool_:
        return np.where(mask._array, dtype.type(-math.inf), dtype.type(0))
    return mask._array.astype(dtype, copy=False)


def _stored(q: Tensor, k: Tensor, v: Tensor, masks: list[Tensor], dropout: float, scale: float) -> tuple[Tensor, Tensor]:
    """The result and the weights [..., L, S] by operations of their own: for masks that have gradients."""
    scores = matmul(q * scale, k.transpose(-2, -1))
    for mask in masks:
        if mask.dtype == np.bool_:
            scores = masked_fill(scores, mask, -math.inf)
        else:
            scores = scores + (mask if mask.dtype == scores.dtype else Tensor(mask._array.astype(scores.dtype)))
    weights = softmax(scores, -1)
    drawn = _drawn(dropout)
    weights = weights if drawn is None else drop(weights, *drawn)
    return matmul(weights, v), weights


class Projections(NamedTuple):
    """The parameters of multi-head attention: one weight for all three inputs, or three."""

    one: Tensor | None
    three: tuple[Tensor, Tensor, Tensor] | None
    bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None
    out_weight: Tensor
    out_bias: Tensor | None


def project(of: Projections, inputs: Sequence[Tensor], width: int) -> list[tuple[Tensor, list[int]]]:
    """Queries, keys and values: tensors, and which of the three lie in each, one after the other. Inputs that are one are one product."""
    q, k, v = inputs
    if of.one is None:
        assert of.three is not None
        rows = (slice(i * width, (i + 1) * width) for i in range(3))
        biases = [None if of.bias is None else of.bias[r] for r in rows]
        return [(linear(x, w, b), [i]) for i, (x, w, b) in enumerate(zip(inputs, of.three, biases, strict=True))]
    groups = [[0, 1, 2]] if q is k and k is v else [[0], [1, 2]] if k is v else [[0], [1], [2]]
    return [
        (linear(inputs[g[0]], of.one, of.bias, rows=None if len(g) == 3 else (g[0] * width, (g[-1] + 1) * width)), g)
        for g in groups
    ]


def multi_head(
    of: Projections,
    inputs: Sequence[Any],
    num_heads: int,
    *,
    batch_first: bool,
    dropout: float = 0.0,
    key_padding_mask: Any = None,
    attn_mask: Any = None,
    is_causal: bool = False,
    add_zero_attn: bool = False,
    need_weights: bool = True,
    average: bool = True,
    lengths: Any = None,
    key_lengths: Any = None,
    window: int | None = None,
    rotary: float | None = None,
    weights_of: tuple[Sequence[int], Sequence[int]] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention of [B, T, E] or [T, B, E]; weights [B, L, S], [B, N, L, S] or of chosen heads and rows."""
    q, k, v = inputs
    time = 1 if batch_first else 0
    batch, rows, keys = q.shape[1 - time], q.shape[time], k.shape[time]
    if k.shape[1 - time] != batch or v.shape[:2] != k.shape[:2]:
        raise ShapeError(f"[{WHO}] expected one batch, and as many keys as values, got {list(k.shape)} and {list(v.shape)}")
    check_window(window)
    width = of.out_weight.shape[1]
    if q is k and key_lengths is None:
        key_lengths = lengths
    there = _lengths(WHO, lengths, batch, rows)
    key_ends, padding = _padding(key_padding_mask, key_lengths, batch, keys)
    mask = _mask(attn_mask, batch, num_heads, rows, keys)
    found = project(of, inputs, width)
    if rotary is not None:
        found = [
            (rotate(x, width * sum(i < 2 for i in g), width // num_heads, rotary, time) if min(g) < 2 else x, g) for x, g in found
        ]
    sources: list[Tensor] = []
    parts: dict[int, Part] = {}
    for x, group in found:
        for place, i in enumerate(group):
            parts[i] = Part(len(sources), place * width, num_heads, width // num_heads)
        sources.append(x)
    extra = []
    if of.bias_k is not None and of.bias_v is not None:
        extra.append((of.bias_k, of.bias_v))
    if add_zero_attn:
        zero = Tensor(np.zeros((1, 1, width), q.dtype))
        extra.append((zero, zero))
    if extra:
        sources, parts, key_ends, padding = _with_extra(sources, parts, extra, key_ends, padding, batch, keys, time, width)
    total = keys + len(extra)
    scores = (batch, num_heads, rows, total)
    masks = [_open(m, len(extra)) for m in (padding, mask) if m is not None]
    layout = Layout("batch" if batch_first else "time", (parts[0], parts[1], parts[2]))
    scale = 1.0 / math.sqrt(width // num_heads)
    chosen = None
    if weights_of is not None:
        chosen = Chosen(_picked(WHO, "heads", weights_of[0], num_heads), _picked(WHO, "rows", weights_of[1], rows), False)
    elif need_weights:
        chosen = Chosen(range(num_heads), range(rows), average)
    weights: Tensor | None
    if any(m.requires_grad for m in masks):
        if any(given is not None for given in (window, there, key_ends, weights_of)):
            raise ConfigError(f"[{WHO}] attn_mask: expected no lengths, window or weights_of beside a mask that learns")
        context, weights = _by_operations(sources, layout, masks, dropout, scale, time, average)
    else:
        biases = tuple(_bias(m, scores, q.dtype) for m in masks)
        options = Options(scale, is_causal and mask is None, window, key_ends, there, None, biases, _drawn(dropout))
        context, weights = attend(sources, layout, options, chosen)
    return linear(context, of.out_weight, of.out_bias), weights


def _by_operations(
    sources: Sequence[Tensor], layout: Layout, masks: list[Tensor], dropout: float, scale: float, time: int, average: bool
) -> tuple[Tensor, Tensor]:
    parts = []
    for p in layout.parts:
        t = sources[p.source][..., p.first : p.first + p.heads * p.width]
        t = t.reshape((*t.shape[:2], p.heads, p.width))
        parts.append(t.transpose(1, 2) if time == 1 else t.permute(1, 2, 0, 3))
    context, weights = _stored(parts[0], parts[1], parts[2], masks, dropout, scale)
    context = context.transpose(1, 2) if time == 1 else context.permute(2, 0, 1, 3)
    return context.reshape((*context.shape[:2], -1)), weights.mean(1) if average else weights


def _picked(who: str, name: str, numbers: Sequence[int], bound: int) -> list[int]:
    picked = [int(n) for n in numbers]
    if any(not -bound <= n < bound for n in picked):
        raise range_error(who, f"weights_of {name}", f"whole numbers below {bound}", picked)
    return [n % bound for n in picked]


def _padding(mask: Any, lengths: Any, batch: int, keys: int) -> tuple[np.ndarray | None, Tensor | None]:
    """Lengths, or a mask [B, 1, 1, S]; a bool mask that only hides ends of rows is lengths."""
    if lengths is not None:
        if mask is not None:
            raise ConfigError(f"[{WHO}] key_lengths: expected no key_padding_mask beside it")
        return _lengths(WHO, lengths, batch, keys), None
    if mask is None:
        return None, None
    mask = as_tensor(mask)
    if mask.shape != (batch, keys):
        raise shape_error(WHO, "key_padding_mask", f"shape {[batch, keys]}", mask.shape)
    if mask.dtype == np.bool_:
        hidden = mask._array
        if not (hidden[:, :-1] & ~hidden[:, 1:]).any():
            return np.ascontiguousarray(keys - hidden.sum(1), np.int64), None
    return None, mask.reshape(batch, 1, 1, keys)


def _mask(mask: Any, batch: int, heads: int, rows: int, keys: int) -> Tensor | None:
    if mask is None:
        return None
    mask = as_tensor(mask)
    if mask.ndim == 3:
        if mask.shape != (batch * heads, rows, keys):
            raise shape_error(WHO, "attn_mask", f"shape [{batch * heads}, {rows}, {keys}]", mask.shape)
        return mask.reshape(batch, heads, rows, keys)
    if mask.shape != (rows, keys):
        raise shape_error(WHO, "attn_mask", f"shape [{rows}, {keys}]", mask.shape)
    return mask


def _with_extra(
    sources: list[Tensor],
    parts: dict[int, Part],
    extra: list[tuple[Tensor, Tensor]],
    lengths: np.ndarray | None,
    padding: Tensor | None,
    batch: int,
    keys: int,
    time: int,
    width: int,
) -> tuple[list[Tensor], dict[int, Part], np.ndarray | None, Tensor | None]:
    """Keys and values with those that the layer adds behind all others; lengths become a mask that leaves these open."""
    if lengths is not None:
        padding = Tensor((np.arange(keys) >= lengths[:, None])[:, None, None, :])
    q = sources[parts[0].source][..., parts[0].first : parts[0].first + width]
    tensors = [q]
    for i in (1, 2):
        p = parts[i]
        own = sources[p.source][..., p.first : p.first + width]
        more = [pair[i - 1].expand(*((batch, 1, width) if time == 1 else (1, batch, width))) for pair in extra]
        tensors.append(cat([own, *more], time))
    return tensors, {i: parts[i]._replace(source=i, first=0) for i in range(3)}, None, padding


def _open(mask: Tensor, extra: int) -> Tensor:
    """The keys that the layer adds are open to all."""
    if extra == 0:
        return mask
    if mask.requires_grad:
        zero = Tensor(np.zeros((*mask.shape[:-1], extra), mask.dtype))
        return cat([mask, zero], mask.ndim - 1)
    return Tensor(np.pad(mask._array, [(0, 0)] * (mask.ndim - 1) + [(0, extra)]))


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    lengths: Any = None,
    key_lengths: Any = None,
    window: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention with the parameters as arguments, as torch's function of this name: query [L, B, E], key [S, B, kdim],
    value [S, B, vdim], or without B → output and weights. Masks as in `nn.MultiheadAttention`.

    >>> x, w = weft.randn(5, 2, 8), weft.randn(24, 8)
    >>> F.multi_head_attention_forward(x, x, x, 8, 2, w, None, None, None, False, 0.0, weft.randn(8, 8), None)[0].shape
    (5, 2, 8)
    """
    if embed_dim_to_check % num_heads:
        raise ConfigError(f"[{WHO}] num_heads: expected a divisor of embed_dim {embed_dim_to_check}, got {num_heads}")
    three = None
    if use_separate_proj_weight:
        if q_proj_weight is None or k_proj_weight is None or v_proj_weight is None:
            raise ConfigError(f"[{WHO}] use_separate_proj_weight: expected q_proj_weight, k_proj_weight and v_proj_weight")
        three = q_proj_weight, k_proj_weight, v_proj_weight
    elif in_proj_weight is None:
        raise ConfigError(f"[{WHO}] in_proj_weight: expected a weight, got None")
    widths = (embed_dim_to_check,) * 3 if three is None else (embed_dim_to_check, three[1].shape[1], three[2].shape[1])
    inputs, batched = as_inputs((query, key, value), widths, batch_axis=1)
    if key_padding_mask is not None and not batched:
        key_padding_mask = as_tensor(key_padding_mask).unsqueeze(0)
    one = None if use_separate_proj_weight else in_proj_weight
    of = Projections(one, three, in_proj_bias, bias_k, bias_v, out_proj_weight, out_proj_bias)
    output, weights = multi_head(
        of, inputs, num_heads, batch_first=False, dropout=dropout_p if training else 0.0, key_padding_mask=key_padding_mask,
        attn_mask=attn_mask, is_causal=is_causal, add_zero_attn=add_zero_attn, need_weights=need_weights,
        average=average_attn_weights, lengths=lengths, key_lengths=key_lengths, window=window,
    )  # fmt: skip
    return unbatched(output, weights, batched, 1)


def as_inputs(inputs: Sequence[Any], widths: Sequence[int], batch_axis: int) -> tuple[list[Tensor], bool]:
    """Query, key and value with a batch axis, and whether they had one; the same input stays the same tensor."""
    known: dict[int, Tensor] = {}
    tensors = []
    batched = as_tensor(inputs[0]).ndim == 3
    for name, given, width in zip(("query", "key", "value"), inputs, widths, strict=True):
        t = as_tensor(given)
        if t.ndim != (3 if batched else 2) or t.shape[-1] != width:
            raise shape_error(WHO, name, f"{3 if batched else 2} dimensions, the last {width}", t.shape)
        if id(given) not in known:
            known[id(given)] = t if batched else t.unsqueeze(batch_axis)
        tensors.append(known[id(given)])
    return tensors, batched


def unbatched(output: Tensor, weights: Tensor | None, batched: bool, batch_axis: int) -> tuple[Tensor, Tensor | None]:
    """Takes the batch axis away that the inputs did not have."""
    if batched:
        return output, weights
    return output.squeeze(batch_axis), None if weights is None else weights.squeeze(0)
