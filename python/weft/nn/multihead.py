"""Multi-head attention as `torch.nn.MultiheadAttention`, and the function under it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor, cat, masked_fill, matmul
from ..errors import ConfigError, DtypeError, ShapeError, range_error, shape_error
from . import functional as F
from . import init
from .layers import Linear, check_device, check_size, new_parameter
from .module import Module


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query · keyᵀ · scale + mask) · value (Vaswani et al. 2017, eq. 1), as torch's function of this name.

    query [..., L, E], key [..., S, E], value [..., S, Ev] → [..., L, Ev]; `scale` 1/√E by default. `attn_mask` [..., L, S]: bool, True
    where attention is allowed, or numbers that are added; `is_causal`: row i sees keys 0 to i (the upper left corner). A row without any
    allowed key gives zeros. `enable_gqa`: fewer heads (axis −3) in key and value than in the query. Every score is stored: L·S numbers.

    >>> q = weft.randn(2, 4, 8)
    >>> weft.nn.multihead.scaled_dot_product_attention(q, q, q, is_causal=True).shape
    (2, 4, 8)
    """
    q, k, v = _checked(query, key, value, dropout_p)
    if attn_mask is not None and is_causal:
        raise ConfigError("[attention] is_causal: expected no attn_mask beside it")
    if enable_gqa:
        k, v = _repeated(k, q.shape[-3]), _repeated(v, q.shape[-3])
    mask = as_tensor(attn_mask) if attn_mask is not None else None
    if mask is not None and mask.dtype == np.bool_:
        mask = Tensor(~mask._array)
    return _attend(q, k, v, _merged(None, mask, is_causal, q.shape[-2], k.shape[-2]), dropout_p, scale)[0]


def _checked(query: Any, key: Any, value: Any, dropout: float) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
    for name, t in (("query", q), ("key", k), ("value", v)):
        if t.ndim < 2:
            raise shape_error("attention", name, "at least 2 dimensions", t.shape)
    if not q.dtype == k.dtype == v.dtype:
        raise DtypeError(f"[attention] expected one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"[attention] expected query [L, E], key [S, E], value [S, Ev], got {list(q.shape)}, {list(k.shape)}, {list(v.shape)}"
        )
    if not 0.0 <= dropout <= 1.0:
        raise range_error("attention", "dropout_p", "a number from 0 to 1", dropout)
    return q, k, v


def _repeated(a: Tensor, heads: int) -> Tensor:
    count = a.shape[-3]
    if heads % count:
        raise ShapeError(f"[attention] enable_gqa: expected heads of key and value that divide {heads}, got {count}")
    index = np.repeat(np.arange(count), heads // count)
    return a[(..., index, slice(None), slice(None))]


def _merged(padding: Tensor | None, mask: Tensor | None, causal: bool, rows: int, keys: int) -> list[Tensor]:
    """Masks that broadcast over the scores: bool where nothing is allowed, numbers to add."""
    found = [m for m in (padding, mask) if m is not None]
    for m in found:
        if m.dtype != np.bool_ and m.dtype.kind != "f":
            raise DtypeError(f"[attention] mask: expected bool or floats, got {m.dtype}")
    if causal:
        found.append(Tensor(np.triu(np.ones((rows, keys), np.bool_), 1)))
    return found


def _attend(q: Tensor, k: Tensor, v: Tensor, masks: list[Tensor], dropout: float, scale: float | None) -> tuple[Tensor, Tensor]:
    """The result, and the weights [..., L, S] after dropout."""
    scores = matmul(q * (1.0 / math.sqrt(q.shape[-1]) if scale is None else scale), k.transpose(-2, -1))
    for mask in masks:
        try:
            fits = np.broadcast_shapes(mask.shape, scores.shape) == scores.shape
        except ValueError:
            fits = False
        if not fits:
            raise shape_error("attention", "mask", f"a shape that broadcasts to {list(scores.shape)}", mask.shape)
        if mask.dtype == np.bool_:
            scores = masked_fill(scores, mask, -math.inf)
        else:
            scores = scores + (mask if mask.dtype == scores.dtype else Tensor(mask._array.astype(scores.dtype)))
    weights = F.dropout(F.softmax(scores, -1), dropout)
    return matmul(weights, v), weights


class MultiheadAttention(Module):
    """Attention of `num_heads` heads at once (Vaswani et al. 2017, §3.2.2): names, layouts and defaults as in torch.

    `layer(query [L, B, E], key [S, B, kdim], value [S, B, vdim])` → output [L, B, E], weights [B, L, S] ([B, heads, L, S] unless
    `average_attn_weights`, None unless `need_weights`); [B, L, E] with `batch_first`, [L, E] unbatched. `key_padding_mask` [B, S] and
    `attn_mask` [L, S] or [B · heads, L, S]: bool, True where attention is *not* allowed, or numbers that are added. `is_causal`: row i
    sees keys 0 to i, with or without the mask that torch asks for. `key_lengths` [B], keyword-only: keys beyond take no part. A row
    without any allowed key gives the output's bias, not NaN.

    >>> layer = weft.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> output, weights = layer(*[weft.randn(3, 5, 8)] * 3)
    >>> output.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        who = "multihead_attention"
        check_size(who, "embed_dim", embed_dim)
        check_size(who, "num_heads", num_heads)
        check_device(who, device)
        if embed_dim % num_heads:
            raise ConfigError(f"[{who}] num_heads: expected a divisor of embed_dim {embed_dim}, got {num_heads}")
        if not 0.0 <= dropout <= 1.0:
            raise range_error(who, "dropout", "a number from 0 to 1", dropout)
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.head_dim, self.add_zero_attn = embed_dim // num_heads, add_zero_attn
        self._one = self.kdim == self.vdim == embed_dim
        shapes = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        for name, width in shapes.items():
            self.register_parameter(name, None if self._one else new_parameter(who, (embed_dim, width), dtype))
        self.register_parameter("in_proj_weight", new_parameter(who, (3 * embed_dim, embed_dim), dtype) if self._one else None)
        self.register_parameter("in_proj_bias", new_parameter(who, (3 * embed_dim,), dtype) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, new_parameter(who, (1, 1, embed_dim), dtype) if add_bias_kv else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Projections uniform by Glorot's rule, biases zero; bias_k and bias_v normal."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if self._parameters[name] is not None:
                init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for name in ("bias_k", "bias_v"):
            if self._parameters[name] is not None:
                init.normal_(getattr(self, name), std=math.sqrt(2.0 / (1 + self.embed_dim)))

    def _project(self, q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
        d, bias = self.embed_dim, self.in_proj_bias
        if self._one and q is k and k is v:
            joined = F.linear(q, self.in_proj_weight, bias)
            return [joined[..., i * d : (i + 1) * d] for i in range(3)]
        if self._one:
            weights = [self.in_proj_weight[i * d : (i + 1) * d] for i in range(3)]
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None if bias is None else bias[i * d : (i + 1) * d] for i in range(3)]
        return [F.linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases, strict=True)]

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        key_lengths: Any = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Output and weights; shapes in the class."""
        who = "multihead_attention"
        same = query is key and key is value
        q = as_tensor(query)
        k, v = (q, q) if same else (as_tensor(key), as_tensor(value))
        for name, t, width in (("query", q, self.embed_dim), ("key", k, self.kdim), ("value", v, self.vdim)):
            if t.ndim not in (2, 3) or t.shape[-1] != width or t.ndim != q.ndim:
                raise shape_error(who, name, f"{q.ndim if q.ndim in (2, 3) else 3} dimensions, the last {width}", t.shape)
        batched = q.ndim == 3
        if not batched:
            q, k, v = (t.unsqueeze(0) for t in (q, k, v))
        elif not self.batch_first:
            q, k, v = [q.transpose(0, 1)] * 3 if same else [t.transpose(0, 1) for t in (q, k, v)]
        if same:
            k = v = q
        batch, rows, keys = q.shape[0], q.shape[1], k.shape[1]
        if k.shape[0] != batch or v.shape[:2] != k.shape[:2]:
            raise ShapeError(f"[{who}] expected one batch, and as many keys as values, got {list(k.shape)} and {list(v.shape)}")
        padding = self._padding(key_padding_mask, key_lengths, batch, keys, batched)
        mask = None if attn_mask is None else as_tensor(attn_mask)
        heads = self.num_heads
        if mask is not None and mask.ndim == 3:
            if mask.shape != (batch * heads, rows, keys):
                raise shape_error(who, "attn_mask", f"shape [{batch * heads}, {rows}, {keys}]", mask.shape)
            mask = mask.reshape(batch, heads, rows, keys)
        elif mask is not None and mask.shape != (rows, keys):
            raise shape_error(who, "attn_mask", f"shape [{rows}, {keys}]", mask.shape)
        q, k, v = self._project(q, k, v)
        extra = 0
        if self.bias_k is not None:
            k = cat([k, self.bias_k.expand(batch, 1, self.embed_dim)], 1)
            v = cat([v, self.bias_v.expand(batch, 1, self.embed_dim)], 1)
            extra += 1
        if self.add_zero_attn:
            zero = Tensor(np.zeros((batch, 1, self.embed_dim), q.dtype))
            k, v = cat([k, zero], 1), cat([v, zero], 1)
            extra += 1
        masks = [self._widened(m, extra) for m in _merged(padding, mask, is_causal and mask is None, rows, keys)]
        q, k, v = (t.reshape(batch, -1, heads, self.head_dim).transpose(1, 2) for t in (q, k, v))
        context, weights = _attend(q, k, v, masks, self.dropout if self.training else 0.0, None)
        output = self.out_proj(context.transpose(1, 2).reshape(batch, rows, self.embed_dim))
        if not batched:
            output = output.squeeze(0)
        elif not self.batch_first:
            output = output.transpose(0, 1)
        if not need_weights:
            return output, None
        weights = weights.mean(1) if average_attn_weights else weights
        return output, weights if batched else weights.squeeze(0)

    def _padding(self, mask: Any, lengths: Any, batch: int, keys: int, batched: bool) -> Tensor | None:
        who = "multihead_attention"
        if lengths is not None:
            if mask is not None:
                raise ConfigError(f"[{who}] key_lengths: expected no key_padding_mask beside it")
            sizes = F.as_lengths(who, lengths, batch, keys)
            assert sizes is not None
            return Tensor((np.arange(keys) >= sizes[:, None])[:, None, None, :])
        if mask is None:
            return None
        mask = as_tensor(mask)
        if mask.shape != ((batch, keys) if batched else (keys,)):
            raise shape_error(who, "key_padding_mask", f"shape {[batch, keys] if batched else [keys]}", mask.shape)
        return mask.reshape(batch, 1, 1, keys)

    @staticmethod
    def _widened(mask: Tensor, extra: int) -> Tensor:
        """The keys that the layer adds are open to all."""
        if extra == 0:
            return mask
        return Tensor(np.pad(mask._array, [(0, 0)] * (mask.ndim - 1) + [(0, extra)]))

    def extra_repr(self) -> str:
        """Width and heads."""
        return f"{self.embed_dim}, {self.num_heads}"
