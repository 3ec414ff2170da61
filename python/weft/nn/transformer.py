"""The Transformer's layers (Vaswani et al. 2017) with torch's names, arguments, defaults and state dicts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor
from ..errors import ConfigError, choice_error, range_error, shape_error
from . import functional as F
from . import init
from .cache import Cached, KeyValueCache
from .container import ModuleList
from .layers import Dropout, LayerNorm, Linear, check_size, new_parameter
from .module import Module
from .multihead import MultiheadAttention


def _activation(activation: str | Callable[..., Tensor]) -> tuple[str | None, Callable[..., Tensor] | None]:
    """What a linear layer takes along, or what is called after it."""
    if activation in ("relu", F.relu):
        return "relu", None
    if activation in ("gelu", F.gelu):
        return "gelu", None
    if activation == "swiglu":
        return None, F.swiglu
    if callable(activation):
        return None, activation
    raise choice_error("transformer", "activation", ("relu", "gelu", "swiglu"), activation)


class _Layer(Module):
    """What encoder and decoder layers share: sub-layers around a residual stream, the norm before or after."""

    norm_first: bool

    def _setup(
        self,
        d_model: int,
        dim_feedforward: int,
        dropout: float,
        activation: Any,
        eps: float,
        norm_first: bool,
        bias: bool,
        dtype: Any,
        norms: int,
    ) -> None:
        if not 0.0 <= dropout <= 1.0:
            raise range_error("transformer", "dropout", "a number from 0 to 1", dropout)
        self._fused, self._other = _activation(activation)
        self.norm_first = norm_first
        # SwiGLU's product has a half for the gate and one for the values.
        wide = 2 * dim_feedforward if activation == "swiglu" else dim_feedforward
        self.linear1 = Linear(d_model, wide, bias=bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, dtype=dtype)
        for i in range(1, norms + 1):
            setattr(self, f"norm{i}", LayerNorm(d_model, eps, bias=bias, dtype=dtype))
        for i in range(1, norms + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))

    def _feed_forward(self, x: Tensor) -> Tensor:
        p = self.dropout.p if self.training else 0.0
        if self._other is None:
            x = F.linear(x, self.linear1.weight, self.linear1.bias, activation=self._fused, dropout=p)
        else:
            x = F.dropout(self._other(self.linear1(x)), p)
        return self.linear2(x)

    def _around(self, x: Tensor, index: int, block: Callable[[Tensor], Tensor]) -> Tensor:
        """x + block(norm(x)), or norm(x + block(x))."""
        norm, dropout = getattr(self, f"norm{index}"), getattr(self, f"dropout{index}")
        if self.norm_first:
            return x + dropout(block(norm(x)))
        return F.add_layer_norm(dropout(block(x)), x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)[0]


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a feed-forward net; each within a residual connection, the norm after it (or before: `norm_first`).

    src [S, B, E] ([B, S, E] with `batch_first`) → the same; `src_mask` [S, S], `src_key_padding_mask` [B, S] as in `MultiheadAttention`,
    `lengths` [B], keyword-only, instead of the latter: what lies beyond is not looked at, nor does it look at anything.

    >>> weft.nn.TransformerEncoderLayer(8, 2, 16)(weft.randn(5, 3, 8)).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[..., Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rotary: float | None = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype, rotary=rotary
        )
        self._setup(d_model, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, dtype, 2)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
        *,
        lengths: Any = None,
        window: int | None = None,
        cached: Cached | None = None,
    ) -> Tensor:
        """The same shape. With `cached`, src [B, T, E] are the next steps of a causal decoder, the earlier ones in the cache."""

        def attend(x: Tensor) -> Tensor:
            if cached is not None:
                return self.self_attn.step(x, cached)
            return self.self_attn(
                x, x, x, src_key_padding_mask, need_weights=False, attn_mask=src_mask, is_causal=is_causal, lengths=lengths,
                window=window,
            )[0]  # fmt: skip

        x = self._around(as_tensor(src), 1, attend)
        return self._around(x, 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Causal self-attention, attention over the encoder's memory, a feed-forward net.

    tgt [T, B, E], memory [S, B, E] → [T, B, E]; masks as torch names them, `lengths` and `memory_lengths` [B], keyword-only, instead of
    `tgt_key_padding_mask` and `memory_key_padding_mask`; what lies beyond `lengths` looks at nothing.

    >>> weft.nn.TransformerDecoderLayer(8, 2, 16)(weft.randn(4, 3, 8), weft.randn(5, 3, 8), tgt_is_causal=True).shape
    (4, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[..., Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rotary: float | None = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype, rotary=rotary
        )
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
        self._setup(d_model, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, dtype, 3)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        lengths: Any = None,
        memory_lengths: Any = None,
        cached: Cached | None = None,
    ) -> Tensor:
        """The shape of tgt. With `cached`, tgt [B, 1, E] is the next step and memory is not looked at: the cache holds what it gave."""
        memory = None if cached is not None else as_tensor(memory)

        def attend(x: Tensor) -> Tensor:
            if cached is not None:
                return self.self_attn.step(x, cached)
            return self.self_attn(
                x, x, x, tgt_key_padding_mask, need_weights=False, attn_mask=tgt_mask, is_causal=tgt_is_causal, lengths=lengths
            )[0]

        def look(x: Tensor) -> Tensor:
            if cached is not None:
                return self.multihead_attn.look(x, cached)
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, need_weights=False, attn_mask=memory_mask,
                is_causal=memory_is_causal, lengths=lengths, key_lengths=memory_lengths,
            )[0]  # fmt: skip

        x = self._around(as_tensor(tgt), 1, attend)
        x = self._around(x, 2, look)
        return self._around(x, 3, self._feed_forward)


class TransformerEncoder(Module):
    """`num_layers` copies of a layer, and a norm at the end if one is given."""

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        check_size("transformer", "num_layers", num_layers)
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm: Any = norm

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
        *,
        lengths: Any = None,
        window: int | None = None,
        cached: KeyValueCache | None = None,
    ) -> Tensor:
        """The same shape. With `cached`, src [B, T, E] are the next steps; the caller has reserved room for them, and advances."""
        x = as_tensor(src)
        for i, layer in enumerate(self.layers):
            if cached is not None:
                x = layer(x, cached=Cached(cached, i, window=window))
            elif lengths is None and window is None:
                x = layer(x, mask, src_key_padding_mask, is_causal)
            else:
                x = layer(x, mask, src_key_padding_mask, is_causal, lengths=lengths, window=window)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """`num_layers` copies of a layer, and a norm at the end if one is given."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        check_size("transformer", "num_layers", num_layers)
        self.layers = ModuleList(copy.deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm: Any = norm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        lengths: Any = None,
        memory_lengths: Any = None,
        cached: Sequence[Cached] | None = None,
    ) -> Tensor:
        """The shape of tgt; with `cached`, one for each layer, tgt [B, 1, E] is the next step."""
        x = as_tensor(tgt)
        memory = None if cached is not None else as_tensor(memory)
        for i, layer in enumerate(self.layers):
            if cached is not None:
                x = layer(x, None, cached=cached[i])
                continue
            x = layer(
                x, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal, memory_is_causal,
                lengths=lengths, memory_lengths=memory_lengths,
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """Encoder and decoder with the paper's defaults, on vectors: embeddings, positions and the output projection are the user's.

    src [S, B, E], tgt [T, B, E] ([B, …] with `batch_first`) → [T, B, E].

    >>> model = weft.nn.Transformer(8, 2, 1, 1, 16)
    >>> model(weft.randn(5, 3, 8), weft.randn(4, 3, 8), tgt_is_causal=True).shape
    (4, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[..., Tensor] = "relu",
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        common = (dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(d_model, nhead, *common), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(d_model, nhead, *common), num_decoder_layers, norm()
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The shape of tgt."""
        src, tgt = as_tensor(src), as_tensor(tgt)
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            wrong = src if src.shape[-1] != self.d_model else tgt
            raise shape_error("transformer", "src and tgt", f"last dimension {self.d_model}", wrong.shape)
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal, memory_is_causal
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """[sz, sz] with −∞ above the diagonal and 0 elsewhere.

        >>> weft.nn.Transformer.generate_square_subsequent_mask(2).tolist()
        [[0.0, -inf], [0.0, 0.0]]
        """
        return Tensor(np.triu(np.full((sz, sz), -math.inf, np.float32 if dtype is None else dtype), 1))


class PositionalEncoding(Module):
    """x + p for positions 0, 1, …: sines and cosines (Vaswani et al. 2017, §3.5), or learned vectors; dropout after it.

    x [T, B, E] ([B, T, E] with `batch_first`); `start`: the position of the first step, for sequences in pieces.

    >>> weft.nn.PositionalEncoding(4)(weft.zeros(2, 1, 4))[1, 0].numpy().round(3).tolist()
    [0.8410000205039978, 0.5400000214576721, 0.009999999776482582, 1.0]
    """

    def __init__(
        self,
        d_model: int,
        dropout: float = 0.0,
        max_len: int = 5000,
        *,
        kind: str = "sinusoidal",
        batch_first: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_size("positional_encoding", "d_model", d_model)
        check_size("positional_encoding", "max_len", max_len)
        if kind not in ("sinusoidal", "learned"):
            raise choice_error("positional_encoding", "kind", ("sinusoidal", "learned"), kind)
        self.dropout, self.batch_first, self.kind, self.max_len = Dropout(dropout), batch_first, kind, max_len
        if kind == "learned":
            self.positions = new_parameter("positional_encoding", (max_len, d_model), dtype)
            init.normal_(self.positions, std=0.02)
        else:
            rates = np.exp(np.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
            angles = np.arange(max_len)[:, None] * rates
            table = np.zeros((max_len, d_model))
            table[:, 0::2] = np.sin(angles)
            table[:, 1::2] = np.cos(angles)[:, : d_model // 2]
            self.register_buffer("positions", Tensor(table.astype(np.float32 if dtype is None else dtype)))

    def forward(self, input: Any, start: Any = 0) -> Tensor:
        """The same shape; `start` is one number, or one for each sequence [B]."""
        x = as_tensor(input)
        steps = x.shape[1 if self.batch_first else 0]
        first = np.asarray(start)
        if first.min(initial=0) < 0 or first.max(initial=0) + steps > self.max_len:
            got = first.max(initial=0) + steps - 1
            raise ConfigError(f"[positional_encoding] input: expected positions below max_len {self.max_len}, got {got}")
        if first.ndim:
            at = np.arange(steps) + first[:, None]
            return self.dropout(x + self.positions[at if self.batch_first else at.T])
        p = self.positions[int(first) : int(first) + steps]
        return self.dropout(x + (p if self.batch_first else p.unsqueeze(1)))
