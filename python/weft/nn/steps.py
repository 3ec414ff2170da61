"""A decoder's layers for one token a row: the arrays and kernels of a step, gathered once for all steps.

`TransformerDecoder(…, cached=)`, `Attention` and the recurrent layers say the same with tensors and modules; this is the short way, to the
same bits, because at batch 1 a step is a few kernels of microseconds each and everything around them counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..autograd.frozen import FrozenLinear, FrozenNorm, FrozenRecurrent, attend_frozen
from .attention import Attention
from .cache import KeyValueCache, Memory, gathered
from .layers import LayerNorm
from .multihead import MultiheadAttention
from .recurrent import GRU, LSTM, RNN
from .transformer import TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer


def _norm(norm: LayerNorm) -> FrozenNorm:
    return FrozenNorm(norm.weight, norm.bias, norm.eps)


class _Attention:
    """The projections of a layer's two attentions."""

    def __init__(self, attention: MultiheadAttention, parts: int) -> None:
        width = attention.embed_dim
        rows = None if parts == 3 else (0, parts * width)
        self.inputs = FrozenLinear(attention.in_proj_weight, attention.in_proj_bias, rows=rows)
        self.output = FrozenLinear(attention.out_proj.weight, attention.out_proj.bias)
        self.shape = parts, attention.num_heads, attention.head_dim
        self.scale = 1.0 / math.sqrt(attention.head_dim)

    def split(self, x: np.ndarray) -> list[np.ndarray]:
        """Rows [R, E] → each part's projections [R, 1, heads, width]."""
        joined = self.inputs(x).reshape(len(x), 1, *self.shape)
        return [joined[:, :, part] for part in range(self.shape[0])]


class _Layer:
    """What layers with and without a source share: attention to their own past, norms, the feed-forward net."""

    def __init__(self, layer: TransformerEncoderLayer | TransformerDecoderLayer, norms: int) -> None:
        self.own = _Attention(layer.self_attn, 3)
        self.norms = [_norm(getattr(layer, f"norm{i}")) for i in range(1, norms + 1)]
        self.first = layer.norm_first
        self.wide = FrozenLinear(layer.linear1.weight, layer.linear1.bias, layer._fused)
        self.narrow = FrozenLinear(layer.linear2.weight, layer.linear2.bias)

    @staticmethod
    def fits(layer: TransformerEncoderLayer | TransformerDecoderLayer) -> bool:
        """Whether the short way knows everything that the layer does, a source apart."""
        own = layer.self_attn
        known = own.rotary is None and own._one and own.bias_k is None and not own.add_zero_attn
        return not layer.training and layer._other is None and known

    def past(self, x: np.ndarray, cache: KeyValueCache, index: int) -> np.ndarray:
        """Rows [R, E] after their look at themselves and what came before."""
        q, k, v = self.own.split(self.before(0, x))
        cache.write(index, k, v)
        return self.after(0, x, cache.attend(index, q, self.own.scale)[:, 0], self.own.output)

    def feed(self, part: int, x: np.ndarray) -> np.ndarray:
        """The feed-forward net."""
        return self.after(part, x, self.wide(self.before(part, x)), self.narrow)

    def before(self, part: int, x: np.ndarray) -> np.ndarray:
        """What a part of the layer reads."""
        return self.norms[part](x) if self.first else x

    def after(self, part: int, x: np.ndarray, h: np.ndarray, output: FrozenLinear) -> np.ndarray:
        """A part's last product, added to what it read."""
        return output(h, x) if self.first else self.norms[part](output(h), x)


class DecoderSteps:
    """The steps of a decoder in evaluation mode; see `fits`."""

    def __init__(self, decoder: TransformerDecoder) -> None:
        layers = [layer for layer in decoder.layers if isinstance(layer, TransformerDecoderLayer)]
        self._layers = [(_Layer(layer, 3), _Attention(layer.multihead_attn, 1)) for layer in layers]
        self._last = None if decoder.norm is None else _norm(decoder.norm)

    @staticmethod
    def fits(decoder: TransformerDecoder) -> bool:
        """Whether the short way knows everything that these layers do."""
        return all(
            type(layer) is TransformerDecoderLayer and _Layer.fits(layer) and layer.multihead_attn._one
            for layer in decoder.layers
        ) and (decoder.norm is None or type(decoder.norm) is LayerNorm)

    def __call__(
        self, x: np.ndarray, cache: KeyValueCache, memories: Sequence[Memory], rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows [R, E] → features [R, E] and the last layer's weights over the source [R, S]. The cache has room for the step."""
        sources = len(memories[0].lengths)
        alone = len(rows) == sources
        weights = None
        for index, ((layer, source), memory) in enumerate(zip(self._layers, memories, strict=True)):
            x = layer.past(x, cache, index)
            [query] = source.split(layer.before(1, x))
            wide, place = (query, None) if alone else gathered(query, rows, sources)
            context, found = memory.attend(wide, source.scale, index == len(self._layers) - 1)
            if found is not None:
                weights = found[:, 0] if place is None else found[rows, place]
            x = layer.after(1, x, context[:, 0] if place is None else context[rows, place], source.output)
            x = layer.feed(2, x)
        assert weights is not None
        return (x if self._last is None else self._last(x)), weights


class EncoderSteps:
    """The steps of encoder layers that look back alone, as decoder-only models do, in evaluation mode; see `fits`."""

    def __init__(self, encoder: TransformerEncoder) -> None:
        layers = [layer for layer in encoder.layers if isinstance(layer, TransformerEncoderLayer)]
        self._layers = [_Layer(layer, 2) for layer in layers]
        self._last = None if encoder.norm is None else _norm(encoder.norm)

    @staticmethod
    def fits(encoder: TransformerEncoder) -> bool:
        """Whether the short way knows everything that these layers do."""
        return all(type(layer) is TransformerEncoderLayer and _Layer.fits(layer) for layer in encoder.layers) and (
            encoder.norm is None or type(encoder.norm) is LayerNorm
        )

    def __call__(self, x: np.ndarray, cache: KeyValueCache) -> np.ndarray:
        """Rows [R, E] → features [R, E]. The cache has room for the step."""
        for index, layer in enumerate(self._layers):
            x = layer.feed(1, layer.past(x, cache, index))
        return x if self._last is None else self._last(x)


class RecurrentSteps:
    """The steps of recurrent layers of one direction in evaluation mode; see `fits`."""

    def __init__(self, layer: RNN | LSTM | GRU) -> None:
        self._cells = [FrozenRecurrent(layer._cell, weights) for weights in layer.plain_layers()]

    @staticmethod
    def fits(layer: RNN | LSTM | GRU) -> bool:
        """Whether the short way knows everything that these layers do."""
        return layer._light and (layer._still or not layer.training) and not layer.options.reverse

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
        return attention.local is None and attention.score not in ("mlp", "location")

    def __call__(
        self, x: np.ndarray, keys: np.ndarray, values: np.ndarray, lengths: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Queries [R, D] over keys and values of sources [B, S, …] → contexts [R, E] and weights [R, S]."""
        query = x if self._query is None else self._query(x)
        wide, place = (query[:, None], None) if len(rows) == len(keys) else gathered(query[:, None], rows, len(keys))
        context, weights = attend_frozen(wide, keys, values, self._energy, self._scale, lengths)
        return (context[:, 0], weights[:, 0]) if place is None else (context[rows, place], weights[rows, place])
