"""Encoder-decoder with attention, over RNN, LSTM or GRU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import nn
from ..autograd import Tensor, cat, no_grad, stack
from ..autograd.activation import log_softmax_array
from ..data.batches import Batch, pad
from ..data.vocabulary import PAD, Vocabulary
from ..errors import choice_error, range_error
from ..nn import functional as F
from ..nn.attention import SCORES
from .encoder_decoder import EncoderDecoder

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass
class State:
    """A decoder's state: what `start` and `step` hand on. Rows are hypotheses."""

    source: Tensor
    keys: Tensor
    lengths: np.ndarray
    hidden: list[Tensor]
    position: int = 0

    def select(self, rows: np.ndarray) -> State:
        """The given rows, also more than once; source positions that no row needs are cut off."""
        lengths = self.lengths[rows]
        longest = max(1, int(lengths.max(initial=0)))
        return State(
            self.source[rows, :longest], self.keys[rows, :longest], lengths, [h[:, rows] for h in self.hidden], self.position
        )  # fmt: skip


class Seq2Seq(EncoderDecoder):
    """Reads a source, then writes a target token by token (Sutskever et al. 2014; Luong et al. 2015).

    Encoder: embedding [B, S, E], `layers` recurrent layers, the first half of `hidden` units reading forward and the other backward
    when `bidirectional`. The decoder starts from tanh(W_b [last states]) (Bahdanau et al. 2015, A.2.2) and is one recurrent call over all
    target steps (teacher forcing), then one attention call: s̃_t = tanh(W_c [c_t; s_t]), logits = W_o s̃_t (Luong et al. 2015, eq. 5-6).
    `attention`: a score of `nn.Attention`, or 'none' (then c_t is left out); `local` and `window` as there.

    >>> pairs = [weft.data.Pair("abc", "cba"), weft.data.Pair("bcd", "dcb")]
    >>> model = weft.models.Seq2Seq.from_pairs(pairs, cell="gru", hidden=16)
    >>> len(model.generate("abc", beam=2)[0].tokens) <= 20
    True
    """

    def __init__(
        self,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        *,
        cell: str = "gru",
        attention: str = "general",
        local: str | None = None,
        window: int = 10,
        hidden: int = 256,
        embedding: int | None = None,
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise choice_error("seq2seq", "cell", CELLS, cell)
        if attention not in (*SCORES, "none"):
            raise choice_error("seq2seq", "attention", (*SCORES, "none"), attention)
        if hidden < 1 or (bidirectional and hidden % 2):
            raise range_error("seq2seq", "hidden", "an even number of at least 2", hidden)
        embedding = min(hidden, 128) if embedding is None else embedding
        self.options = {
            "cell": cell, "attention": attention, "local": local, "window": window, "hidden": hidden, "embedding": embedding,
            "layers": layers, "bidirectional": bidirectional, "dropout": dropout,
        }  # fmt: skip
        self.source_vocabulary, self.target_vocabulary = source_vocabulary, target_vocabulary
        self.layers, self.directions, self.lstm = layers, 2 if bidirectional else 1, cell == "lstm"
        layer = CELLS[cell]
        self.source_embedding = nn.Embedding(len(source_vocabulary), embedding, padding_idx=PAD)
        self.target_embedding = nn.Embedding(len(target_vocabulary), embedding, padding_idx=PAD)
        between = dropout if layers > 1 else 0.0
        self.encoder = layer(
            embedding, hidden // self.directions, layers, batch_first=True, dropout=between, bidirectional=bidirectional
        )
        self.decoder = layer(embedding, hidden, layers, batch_first=True, dropout=between)
        self.bridge = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(2 if self.lstm else 1)])
        if attention != "none":
            self.attention: nn.Attention | None = nn.Attention(hidden, hidden, attention, local=local, window=window)
            self.combine = nn.Linear(2 * hidden, hidden)
        else:
            self.attention = None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, len(target_vocabulary))

    # Training

    def encode(self, source: np.ndarray, lengths: np.ndarray) -> tuple[Tensor, list[Tensor]]:
        """Source numbers [B, S] → states [B, S, hidden] and the decoder's initial h (and c), each [layers, B, hidden]."""
        x = self.dropout(self.source_embedding(source))
        output, last = self.encoder(x, lengths=lengths)
        states = []
        for bridge, state in zip(self.bridge, last if self.lstm else (last,), strict=True):
            # [layers · directions, B, H / directions] → [layers, B, H], the directions of a layer side by side.
            rows = []
            for layer in range(self.layers):
                parts = [state[layer * self.directions + d] for d in range(self.directions)]
                rows.append(F.tanh(bridge(cat(parts, -1))))
            states.append(stack(rows))
        return self.dropout(output), states

    def decode(
        self,
        tokens: np.ndarray,
        hidden: list[Tensor],
        source: Tensor,
        keys: Tensor,
        lengths: np.ndarray,
        steps: np.ndarray | None,
        position: int = 0,
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Target numbers [B, T] from states → s̃ [B, T, hidden], attention weights [B, T, S], last states."""
        x = self.dropout(self.target_embedding(tokens))
        state = (hidden[0], hidden[1]) if self.lstm else hidden[0]
        output, last = self.decoder(x, state, lengths=steps)
        weights = None
        if self.attention is not None:
            context, weights = self.attention(output, source, keys=keys, lengths=lengths, start=position)
            output = F.tanh(self.combine(cat([context, output], -1)))
        return self.dropout(output), weights, list(last) if self.lstm else [last]

    def keys(self, source: Tensor) -> Tensor:
        """The attention's keys of encoder states, computed once for all steps."""
        return source if self.attention is None else self.attention.project(source)

    def features(self, batch: Batch) -> Tensor:
        """s̃ [B, T, hidden] of every target step, the true tokens before it given (teacher forcing)."""
        source, hidden = self.encode(batch.source, batch.source_lengths)
        keys = self.keys(source)
        return self.decode(batch.target_in, hidden, source, keys, batch.source_lengths, batch.target_lengths)[0]

    # Decoding

    def start(self, inputs: list[list[int]]) -> State:
        """A decoder state for sources as numbers."""
        with no_grad():
            source, lengths = pad(inputs)
            output, hidden = self.encode(source, lengths)
            return State(output, self.keys(output), lengths, hidden)

    def step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, State]:
        """One token further: log-probabilities [rows, V], attention weights [rows, S], the new state."""
        with no_grad():
            features, weights, hidden = self.decode(
                tokens.reshape(-1, 1), state.hidden, state.source, state.keys, state.lengths, None, state.position
            )
            scores = log_softmax_array(self.output(features).numpy()[:, 0])
        attention = None if weights is None else weights.numpy()[:, 0]
        return scores, attention, State(state.source, state.keys, state.lengths, hidden, state.position + 1)
