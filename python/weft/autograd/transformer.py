"""A Transformer's layers with parameters that stay as they are, one token a row: a decoder's step. Nothing is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _native
from .matmul import pack_linear
from .tensor import Tensor


class Product(NamedTuple):
    """x · weightᵀ + bias; `rows` of both where not all are meant."""

    weight: Tensor
    bias: Tensor | None
    rows: tuple[int, int] | None = None


class Normed(NamedTuple):
    """Layer norm."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float


class Layer(NamedTuple):
    """Queries, keys and values in one, and back; those of a decoder's look at its source; the feed-forward net; a norm for each part."""

    own: tuple[Product, Product]
    source: tuple[Product, Product] | None
    feed: tuple[Product, Product]
    activation: str | None
    norms: Sequence[Normed]


class Places(NamedTuple):
    """Where rows stand in a cache: their pages [R, most], and how many positions they have with the new one [R]."""

    table: np.ndarray
    ends: np.ndarray


class Looked(NamedTuple):
    """What rows look at: keys and values [B, S, heads, D] of each layer, lengths [B], each row's source [R]; whether weights are wanted."""

    memories: list[tuple[np.ndarray, np.ndarray]]
    lengths: np.ndarray
    rows: np.ndarray
    weights: bool = True


class FrozenTransformer:
    """Rows [R, E] through all layers; the bits of the layers one by one."""

    __slots__ = ("_layers",)

    def __init__(self, layers: Sequence[Layer], last: Normed | None, norm_first: bool, heads: int, scale: float) -> None:
        def product(of: Product) -> tuple[Any, np.ndarray | None]:
            bias = None if of.bias is None else of.bias._array
            return pack_linear(of.weight, of.rows), bias if bias is None or of.rows is None else bias[slice(*of.rows)]

        def norm(of: Normed) -> tuple[np.ndarray | None, np.ndarray | None, float]:
            return None if of.weight is None else of.weight._array, None if of.bias is None else of.bias._array, of.eps

        def both(of: tuple[Product, Product]) -> list[tuple[Any, np.ndarray | None]]:
            return [product(p) for p in of]

        parts = [
            (both(a.own), None if a.source is None else both(a.source), both(a.feed), a.activation, [norm(n) for n in a.norms])
            for a in layers
        ]
        self._layers = _native.TransformerLayers(parts, None if last is None else norm(last), norm_first, heads, scale)

    def __call__(
        self, x: np.ndarray, caches: Sequence[tuple[np.ndarray, np.ndarray]], places: Places, looked: Looked | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Features [R, E], and the last layer's weights [R, S] over the sources, the mean of its heads. The caches are written."""
        return _native.transformer_step(self._layers, x, caches, places, looked)
