"""The decoder of a `Seq2Seq` for one token a row, on arrays: the bits of `Seq2Seq.decode`, without a module call between two kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..autograd.activation import log_softmax_array
from ..autograd.frozen import FrozenEmbedding, FrozenLinear
from ..nn.steps import AttentionSteps, RecurrentSteps

if TYPE_CHECKING:
    from .seq2seq import Seq2Seq, Source


@dataclass
class Sources:
    """What the encoder read: states and keys [B, S, hidden], lengths [B], and the summary [B, hidden] that each step reads, if any."""

    states: np.ndarray
    keys: np.ndarray
    lengths: np.ndarray
    summary: np.ndarray | None

    @classmethod
    def of(cls, source: Source) -> Sources:
        """The arrays of a source."""
        states = source.states.numpy()
        keys = states if source.keys is source.states else source.keys.numpy()
        summary = None if source.summary is None else source.summary.numpy()
        return cls(states, keys, np.ascontiguousarray(source.lengths, np.int64), summary)

    def select(self, rows: np.ndarray) -> Sources:
        """The given sources; positions that none of them has are cut off."""
        lengths = self.lengths[rows]
        longest = max(1, int(lengths.max(initial=0)))
        states = np.ascontiguousarray(self.states[rows, :longest])
        keys = states if self.keys is self.states else np.ascontiguousarray(self.keys[rows, :longest])
        return Sources(states, keys, lengths, None if self.summary is None else self.summary[rows])


@dataclass
class StepState:
    """A decoder's state between two tokens. Rows are hypotheses; every source has at least one, and those of a source lie side by side."""

    steps: Seq2SeqSteps
    sources: Sources
    #: Which source each row looks at.
    rows: np.ndarray
    #: h (and c) of every layer [layers, rows, hidden].
    hidden: list[np.ndarray]
    #: The last s̃ [rows, hidden], with input feeding.
    fed: np.ndarray | None = None

    def select(self, rows: np.ndarray) -> StepState:
        """The given rows, also more than once."""
        if len(rows) == len(self.rows) and (rows == np.arange(len(rows))).all():
            return self
        chosen, sources = self.rows[rows], self.sources
        needed = np.unique(chosen)
        if len(needed) < len(sources.lengths):
            chosen, sources = np.searchsorted(needed, chosen), sources.select(needed)
        hidden = [np.take(h, rows, 1) for h in self.hidden]
        return StepState(self.steps, sources, chosen, hidden, None if self.fed is None else self.fed[rows])


class Seq2SeqSteps:
    """The parameters of a decoder in evaluation mode, as its steps read them; see `fits`."""

    def __init__(self, model: Seq2Seq) -> None:
        self._table = FrozenEmbedding(model.target_embedding.weight)
        self._decoder = RecurrentSteps(model.decoder)
        self._attention = None if model.attention is None else AttentionSteps(model.attention)
        joins = model.attention is not None or model.every
        self._combine = FrozenLinear(model.combine.weight, model.combine.bias, "tanh") if joins else None
        self._output = FrozenLinear(model.output.weight, model.output.bias)
        self._feeding, self._hidden = model.feeding, model.hidden

    @staticmethod
    def fits(model: Seq2Seq) -> bool:
        """Whether the short way knows everything that this decoder does."""
        known = model.attention is None or AttentionSteps.fits(model.attention)
        return not model.training and known and RecurrentSteps.fits(model.decoder) and not model.hooked

    def start(self, source: Source, hidden: list[np.ndarray]) -> StepState:
        """The state before the first token, a row for each source."""
        sources = Sources.of(source)
        fed = np.zeros((len(sources.lengths), self._hidden), sources.states.dtype) if self._feeding else None
        return StepState(self, sources, np.arange(len(sources.lengths)), hidden, fed)

    def __call__(self, state: StepState, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, StepState]:
        """One token further: log-probabilities [rows, V], attention weights [rows, S], the new state."""
        x = self._table(tokens)
        sources, weights = state.sources, None
        context = None if sources.summary is None else sources.summary[state.rows]
        beside = state.fed if self._feeding else context
        h, hidden = self._decoder(x if beside is None else np.concatenate([x, beside], 1), state.hidden)
        if self._attention is not None:
            context, weights = self._attention(h, sources.keys, sources.states, sources.lengths, state.rows)
        if self._combine is not None and context is not None:
            h = self._combine(np.concatenate([context, h], 1))
        after = replace(state, hidden=hidden, fed=h if self._feeding else None)
        return log_softmax_array(self._output(h)), weights, after
