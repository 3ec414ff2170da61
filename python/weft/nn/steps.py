"""A decoder's layers for one token a row: the arrays and kernels of a step, gathered once for all steps.

`TransformerDecoder(…, cached=)` says the same with tensors and modules; this is the short way, to the same bits, because at batch 1 a step
is a few kernels of microseconds each and everything around them counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..autograd.frozen import FrozenLinear, FrozenNorm
from .cache import KeyValueCache, Memory, gathered
from .layers import LayerNorm
from .multihead import MultiheadAttention
from .transformer import TransformerDecoder, TransformerDecoderLayer


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

    def split(self, x: np.ndarray) -> np.ndarray:
        """Rows [R, E] → projections [R, 1, parts, heads, width]."""
        return self.inputs(x).reshape(len(x), 1, *self.shape)


class _Layer:
    def __init__(self, layer: TransformerDecoderLayer) -> None:
        self.own, self.source = _Attention(layer.self_attn, 3), _Attention(layer.multihead_attn, 1)
        self.norms = [_norm(layer.norm1), _norm(layer.norm2), _norm(layer.norm3)]
        self.first = layer.norm_first
        self.wide = FrozenLinear(layer.linear1.weight, layer.linear1.bias, layer._fused)
        self.narrow = FrozenLinear(layer.linear2.weight, layer.linear2.bias)


class DecoderSteps:
    """The steps of a decoder in evaluation mode; see `fits`."""

    def __init__(self, decoder: TransformerDecoder) -> None:
        self._layers = [_Layer(layer) for layer in decoder.layers if isinstance(layer, TransformerDecoderLayer)]
        self._last = None if decoder.norm is None else _norm(decoder.norm)

    @staticmethod
    def fits(decoder: TransformerDecoder) -> bool:
        """Whether the short way knows everything that these layers do."""
        return all(
            type(layer) is TransformerDecoderLayer
            and not layer.training
            and layer._other is None
            and layer.self_attn.rotary is None
            and layer.self_attn._one
            and layer.multihead_attn._one
            and layer.self_attn.bias_k is None
            and not layer.self_attn.add_zero_attn
            for layer in decoder.layers
        ) and (decoder.norm is None or type(decoder.norm) is LayerNorm)

    def __call__(
        self, x: np.ndarray, cache: KeyValueCache, memories: Sequence[Memory], rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows [R, E] → features [R, E] and the last layer's weights over the source [R, S]. The cache has room for the step."""
        sources = len(memories[0].lengths)
        alone = len(rows) == sources
        weights = None
        for index, (layer, memory) in enumerate(zip(self._layers, memories, strict=True)):
            for block in range(3):
                norm = layer.norms[block]
                h = norm(x) if layer.first else x
                if block == 0:
                    q, k, v = _three(layer.own.split(h))
                    cache.write(index, k, v)
                    h = cache.attend(index, q, layer.own.scale)[:, 0]
                    output = layer.own.output
                elif block == 1:
                    query = layer.source.split(h)[:, :, 0]
                    wide, place = (query, None) if alone else gathered(query, rows, sources)
                    last = index == len(self._layers) - 1
                    context, found = memory.attend(wide, layer.source.scale, last)
                    h = context[:, 0] if place is None else context[rows, place]
                    if found is not None:
                        weights = found[:, 0] if place is None else found[rows, place]
                    output = layer.source.output
                else:
                    h, output = layer.wide(h), layer.narrow
                x = output(h, x) if layer.first else norm(output(h), x)
        assert weights is not None
        return (x if self._last is None else self._last(x)), weights


def _three(joined: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return joined[:, :, 0], joined[:, :, 1], joined[:, :, 2]
