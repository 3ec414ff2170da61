"""A decoder's layers for one token a row: the arrays and kernels of a step, gathered once for all steps.

`TransformerDecoder(…, cached=)`, `Attention` and the recurrent layers say the same with tensors and modules; this is the short way, to the
same bits, because at batch 1 a step is a few kernels of microseconds each and everything around them counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd.frozen import FrozenLinear, FrozenRecurrent, attend_frozen
from ..autograd.transformer import FrozenTransformer, Layer, Looked, Normed, Product
from .attention import Attention
from .cache import KeyValueCache, Memory, gathered
from .layers import LayerNorm
from .multihead import MultiheadAttention
from .recurrent import GRU, LSTM, RNN
from .transformer import TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer


def _norm(norm: LayerNorm) -> Normed:
    return Normed(norm.weight, norm.bias, norm.eps)


def _attention(attention: MultiheadAttention, parts: int) -> tuple[Product, Product]:
    rows = None if parts == 3 else (0, parts * attention.embed_dim)
    inputs = Product(attention.in_proj_weight, attention.in_proj_bias, rows)
    return inputs, Product(attention.out_proj.weight, attention.out_proj.bias)


def _fits(stack: TransformerEncoder | TransformerDecoder, kind: type) -> bool:
    """Whether the short way knows everything that the layers do, their sources apart."""
    first = stack.layers[0]

    def known(layer: Any) -> bool:
        own = layer.self_attn
        plain = own.rotary is None and own._one and own.bias_k is None and not own.add_zero_attn
        alike = layer.norm_first == first.norm_first and own.num_heads == first.self_attn.num_heads
        return plain and alike and not layer.training and layer._other is None

    alone = type(stack.norm) in (type(None), LayerNorm) and not stack.hooked
    return alone and all(type(layer) is kind and known(layer) for layer in stack.layers)


def _frozen(layers: Sequence[Any], norm: Any) -> FrozenTransformer:
    parts = []
    for layer in layers:
        source = _attention(layer.multihead_attn, 1) if isinstance(layer, TransformerDecoderLayer) else None
        norms = [_norm(layer.norm1), _norm(layer.norm2), *([] if source is None else [_norm(layer.norm3)])]
        feed = Product(layer.linear1.weight, layer.linear1.bias), Product(layer.linear2.weight, layer.linear2.bias)
        parts.append(Layer(_attention(layer.self_attn, 3), source, feed, layer._fused, norms))
    own = layers[0].self_attn
    scale = 1.0 / math.sqrt(own.head_dim)
    return FrozenTransformer(parts, None if norm is None else _norm(norm), layers[0].norm_first, own.num_heads, scale)


class DecoderSteps:
    """The steps of a decoder in evaluation mode; see `fits`."""

    def __init__(self, decoder: TransformerDecoder) -> None:
        self._layers = _frozen(list(decoder.layers), decoder.norm)

    @staticmethod
    def fits(decoder: TransformerDecoder) -> bool:
        """Whether the short way knows everything that these layers do."""
        heads = decoder.layers[0].self_attn.num_heads
        sources = [layer.multihead_attn for layer in decoder.layers]
        return _fits(decoder, TransformerDecoderLayer) and all(a._one and a.num_heads == heads for a in sources)

    def __call__(
        self, x: np.ndarray, cache: KeyValueCache, memories: Sequence[Memory], rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows [R, E] → features [R, E] and the last layer's weights over the source [R, S]. The cache has room for the step."""
        looked = Looked([m.views for m in memories], memories[0].lengths, rows)
        x, weights = self._layers(x, cache.pools, cache.places, looked)
        assert weights is not None
        return x, weights[:, : memories[0].sources]


class EncoderSteps:
    """The steps of encoder layers that look back alone, as decoder-only models do, in evaluation mode; see `fits`."""

    def __init__(self, encoder: TransformerEncoder) -> None:
        self._layers = _frozen(list(encoder.layers), encoder.norm)

    @staticmethod
    def fits(encoder: TransformerEncoder) -> bool:
        """Whether the short way knows everything that these layers do."""
        return _fits(encoder, TransformerEncoderLayer)

    def __call__(self, x: np.ndarray, cache: KeyValueCache) -> np.ndarray:
        """Rows [R, E] → features [R, E]. The cache has room for the step."""
        return self._layers(x, cache.pools, cache.places)[0]


class RecurrentSteps:
    """The steps of recurrent layers of one direction in evaluation mode; see `fits`."""

    def __init__(self, layer: RNN | LSTM | GRU) -> None:
        self._cells = [FrozenRecurrent(layer._cell, weights) for weights in layer.plain_layers()]

    @staticmethod
    def fits(layer: RNN | LSTM | GRU) -> bool:
        """Whether the short way knows everything that these layers do."""
        return layer._light and (layer._still or not layer.training) and not layer.options.reverse and not layer.hooked

    def __call__(self, x: np.ndarray, hidden: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Rows [R, I] and the states h (and c) [layers, R, H] → the last layer's h [R, H] and the states after."""
        after: list[list[np.ndarray]] = [[] for _ in hidden]
        for index, cell in enumerate(self._cells):
            states = cell(x, *(h[index] for h in hidden))
            x = states[0]
            for kept, state in zip(after, states, strict=True):
                kept.append(state)
        return x, [kept[0][None] if len(kept) == 1 else np.stack(kept) for kept in after]


class AttentionSteps:
    """`Attention` for rows that look at sources, a source's rows side by side; see `fits`."""

    def __init__(self, attention: Attention) -> None:
        self._query = FrozenLinear(attention.query.weight, None) if attention.energy_of_sum else None
        self._energy = attention.energy._array if self._query else None
        self._scale = attention.scale

    @staticmethod
    def fits(attention: Attention) -> bool:
        """Whether the short way knows this attention."""
        return attention.local is None and attention.score not in ("mlp", "location") and not attention.hooked

    def __call__(
        self, x: np.ndarray, keys: np.ndarray, values: np.ndarray, lengths: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries [R, D] over keys and values of sources [B, S, …] → contexts [R, E] and weights [R, S]."""
        query = x if self._query is None else self._query(x)
        most = -(-len(rows) // len(keys))
        if len(rows) == most * len(keys) and (rows == np.arange(len(rows)) // most).all():
            # As many rows for each source.
            wide = query.reshape(len(keys), most, -1)
            context, weights = attend_frozen(wide, keys, values, self._energy, self._scale, lengths)
            return context.reshape(len(rows), -1), weights.reshape(len(rows), -1)
        wide, place = gathered(query[:, None], rows, len(keys))
        context, weights = attend_frozen(wide, keys, values, self._energy, self._scale, lengths)
        return context[rows, place], weights[rows, place]
