"""The decoder of a `Transformer` for one token a row, on arrays: the bits of `Transformer.decoder`, in one call of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..autograd.activation import log_softmax_array
from ..autograd.frozen import FrozenEmbedding, FrozenLinear
from ..nn.cache import KeyValueCache, Memory
from ..nn.steps import DecoderSteps

if TYPE_CHECKING:
    from .transformer import Transformer


@dataclass
class State:
    """What `start` and `step` hand on: the cache of each hypothesis, and which source it belongs to."""

    cache: KeyValueCache
    memories: list[Memory]
    rows: np.ndarray
    #: The short way through the decoder, where it fits.
    steps: TransformerSteps | None = None

    def select(self, rows: np.ndarray) -> State:
        """The given hypotheses, also more than once; sources that none belongs to are dropped."""
        belongs = self.rows[rows]
        sources, place = np.unique(belongs, return_inverse=True)
        memories = self.memories
        if len(sources) < len(memories[0].lengths):
            memories = [m.select(sources) for m in memories]
        return State(self.cache.select(rows), memories, place.reshape(-1), self.steps)


class TransformerSteps:
    """The parameters of a decoder in evaluation mode, as its steps read them; see `fits`."""

    def __init__(self, model: Transformer) -> None:
        self._table = FrozenEmbedding(model.target_embedding.weight, model.scale)
        self._positions = None if model.positions is None else model.positions.positions
        self._decoder = DecoderSteps(model.decoder)
        self._output = FrozenLinear(model.output.weight, model.output.bias)

    @staticmethod
    def fits(model: Transformer) -> bool:
        """Whether the short way knows everything that this decoder does."""
        return not model.training and not model.hooked and DecoderSteps.fits(model.decoder)

    def __call__(self, state: State, tokens: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
        """One token further: log-probabilities [rows, V], attention weights [rows, S]. The cache goes on."""
        x = self._table(tokens)
        if self._positions is not None:
            x += self._positions._array[position]
        state.cache.reserve(1)
        h, weights = self._decoder(x, state.cache, state.memories, state.rows)
        state.cache.advance(1)
        return log_softmax_array(self._output(h)), weights
