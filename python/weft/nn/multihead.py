"""Multi-head attention as `torch.nn.MultiheadAttention`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd import Tensor, as_tensor, no_grad
from ..autograd.matmul import linear
from ..autograd.rotary import rotate
from ..errors import ConfigError, range_error
from . import init
from .cache import Cached, Memory, gathered, split_heads
from .functional_attention import Projections, as_inputs, check_rotary, multi_head, unbatched
from .layers import Linear, check_device, check_size, new_parameter
from .module import Module


class MultiheadAttention(Module):
    """Attention of `num_heads` heads at once (Vaswani et al. 2017, §3.2.2): names, layouts and defaults as in torch.

    `layer(query [L, B, E], key [S, B, kdim], value [S, B, vdim])` → output [L, B, E], weights [B, L, S] ([B, heads, L, S] unless
    `average_attn_weights`, None unless `need_weights`); [B, L, E] with `batch_first`, [L, E] unbatched. `key_padding_mask` [B, S] and
    `attn_mask` [L, S] or [B · heads, L, S]: bool, True where attention is *not* allowed, or numbers that are added. `is_causal`: row i
    sees keys 0 to i, with or without the mask that torch asks for. A row without any allowed key gives the output's bias, not NaN.

    Keyword-only, and not in torch: `key_lengths` [B]: keys beyond are never read; `lengths` [B]: queries beyond see nothing and are no
    work, nor are keys beyond read where query and key are one tensor and there are no `key_lengths`; `window`: row i sees keys less than
    this far from i; `weights_of=(heads, rows)`: weights [B, heads, rows, S] of these alone, at a cost in proportion; `rotary`: the base of
    rotary positions (10000 in Su et al. 2021), which turn queries and keys.

    Scores are never stored, forward or backward, with dropout too; `need_weights=True` costs one more product.

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
        *,
        rotary: float | None = None,
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
        check_rotary(who, rotary, self.head_dim)
        self.rotary = rotary
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

    def projections(self) -> Projections:
        """The parameters, as the functions take them."""
        three = None if self._one else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        one, out = self.in_proj_weight, self.out_proj
        return Projections(one, three, self.in_proj_bias, self.bias_k, self.bias_v, out.weight, out.bias)

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
        lengths: Any = None,
        key_lengths: Any = None,
        window: int | None = None,
        weights_of: tuple[Sequence[int], Sequence[int]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Output and weights; shapes in the class."""
        axis = 0 if self.batch_first else 1
        inputs, batched = as_inputs((query, key, value), (self.embed_dim, self.kdim, self.vdim), axis)
        if key_padding_mask is not None and not batched:
            key_padding_mask = as_tensor(key_padding_mask).unsqueeze(0)
        output, weights = multi_head(
            self.projections(), inputs, self.num_heads, batch_first=self.batch_first,
            dropout=self.dropout if self.training else 0.0, key_padding_mask=key_padding_mask, attn_mask=attn_mask,
            is_causal=is_causal, add_zero_attn=self.add_zero_attn, need_weights=need_weights, average=average_attn_weights,
            lengths=lengths, key_lengths=key_lengths, window=window, rotary=self.rotary, weights_of=weights_of,
        )  # fmt: skip
        return unbatched(output, weights, batched, axis)

    def step(self, input: Any, cached: Cached) -> Tensor:
        """Causal self-attention of the next steps [B, T, E] of every row, which join the cache. The bits are those of the whole pass."""
        if not self._one or self.bias_k is not None or self.add_zero_attn:
            raise ConfigError(
                "[multihead_attention] step: expected one width for all inputs, no add_bias_kv and no add_zero_attn"
            )
        with no_grad():
            joined = linear(as_tensor(input), self.in_proj_weight, self.in_proj_bias)
            if self.rotary is not None:
                joined = rotate(joined, 2 * self.embed_dim, self.head_dim, self.rotary, 1, cached.cache.lengths)
            q, k, v = split_heads(joined, self.num_heads, 3)
            cached.cache.write(cached.layer, k, v)
            context = cached.cache.attend(cached.layer, q, 1.0 / math.sqrt(self.head_dim), cached.window)
            return self.out_proj(Tensor(context))

    def remember(self, memory: Any, lengths: Any) -> Memory:
        """Keys and values of a memory [B, S, E], for many calls of `look`."""
        width = self.embed_dim
        with no_grad():
            projected = linear(as_tensor(memory), self.in_proj_weight, self.in_proj_bias, rows=(width, 3 * width))
            keys, values = split_heads(projected, self.num_heads, 2)
            return Memory(keys, values, lengths)

    def look(self, input: Any, cached: Cached) -> Tensor:
        """Attention of rows [R, 1, E] over the memory's sources that they belong to; weights [R, S] are left in `cached.weights`."""
        assert cached.memory is not None and cached.rows is not None
        memory, rows = cached.memory, cached.rows
        with no_grad():
            projected = linear(as_tensor(input), self.in_proj_weight, self.in_proj_bias, rows=(0, self.embed_dim))
            wide, place = gathered(split_heads(projected, self.num_heads, 1)[0], rows, len(memory.lengths))
            context, weights = memory.attend(wide, 1.0 / math.sqrt(self.head_dim), cached.weights is not None)
            if cached.weights is not None and weights is not None:
                cached.weights.append(weights[rows, place])
            return self.out_proj(Tensor(context[rows, place][:, None]))

    def extra_repr(self) -> str:
        """Width and heads."""
        return f"{self.embed_dim}, {self.num_heads}"
