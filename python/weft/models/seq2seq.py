"""Encoder-decoder with attention, over RNN, LSTM or GRU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor, cat, no_grad, stack
from ..autograd.activation import log_softmax_array
from ..data.batches import Batch, encode_pairs, make_batch, pad
from ..data.pairs import Pair
from ..data.vocabulary import PAD, Vocabulary, tokenize
from ..decoding import Result, beam, greedy
from ..errors import ConfigError, choice_error, range_error
from ..nn import functional as F
from ..nn.attention import SCORES
from . import folder

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass
class State:
    """A decoder's state: what `start` and `step` hand on. Rows are hypotheses."""

    source: Tensor
    keys: Tensor
    lengths: np.ndarray
    hidden: list[Tensor]

    def select(self, rows: np.ndarray) -> State:
        """The given rows, also more than once; source positions that no row needs are cut off."""
        lengths = self.lengths[rows]
        longest = max(1, int(lengths.max(initial=0)))
        return State(
            self.source[rows, :longest], self.keys[rows, :longest], lengths, [h[:, rows] for h in self.hidden]
        )  # fmt: skip


class Seq2Seq(nn.Module):
    """Reads a source, then writes a target token by token (Sutskever et al. 2014; Luong et al. 2015).

    Encoder: embedding [B, S, E], `layers` recurrent layers, the first half of `hidden` units reading forward and the other backward
    when `bidirectional`. The decoder starts from tanh(W_b [last states]) (Bahdanau et al. 2015, A.2.2) and is one recurrent call over all
    target steps (teacher forcing), then one attention call: s̃_t = tanh(W_c [c_t; s_t]), logits = W_o s̃_t (Luong et al. 2015, eq. 5-6).
    `attention`: 'dot', 'scaled_dot', 'general', 'additive', or 'none' (then c_t is left out).

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
            "cell": cell, "attention": attention, "hidden": hidden, "embedding": embedding, "layers": layers,
            "bidirectional": bidirectional, "dropout": dropout,
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
            self.attention: nn.Attention | None = nn.Attention(hidden, hidden, attention)
            self.combine = nn.Linear(2 * hidden, hidden)
        else:
            self.attention = None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, len(target_vocabulary))

    @classmethod
    def from_pairs(cls, pairs: Sequence[Pair], *, tokens: str | tuple[str, str] = "character", **options: Any) -> Seq2Seq:
        """A model with vocabularies made from pairs; `tokens` is 'character' or 'word', or one of them for each side."""
        kinds = (tokens, tokens) if isinstance(tokens, str) else tokens
        if not pairs:
            raise ConfigError("[seq2seq] pairs: expected at least one pair, got none")
        source = Vocabulary.from_texts((p[0] for p in pairs), kinds[0])
        target = Vocabulary.from_texts((p[1] for p in pairs), kinds[1])
        return cls(source, target, **options)

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
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Target numbers [B, T] from states → s̃ [B, T, hidden], attention weights [B, T, S], last states."""
        x = self.dropout(self.target_embedding(tokens))
        state = (hidden[0], hidden[1]) if self.lstm else hidden[0]
        output, last = self.decoder(x, state, lengths=steps)
        weights = None
        if self.attention is not None:
            context, weights = self.attention(output, source, keys=keys, lengths=lengths)
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

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, T, V] of every target step, the true tokens before it given."""
        return self.output(self.features(batch))

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy in nats per target token, the end counted, padding not."""
        features, target, output = self.features(batch), batch.target_out, self.output
        if type(output) is nn.Linear:
            return F.linear_cross_entropy(
                features, output.weight, target, output.bias, ignore_index=PAD, label_smoothing=label_smoothing
            )
        # Whoever put another layer there gets it called.
        logits = output(features)
        rows = logits.reshape(-1, logits.shape[-1])
        return F.cross_entropy(rows, target.reshape(-1), ignore_index=PAD, label_smoothing=label_smoothing)

    def encode_pairs(self, pairs: Sequence[Pair]) -> list[Any]:
        """Pairs as numbers, for `data.batches`."""
        return encode_pairs(pairs, self.source_vocabulary, self.target_vocabulary)

    def collate(self, pairs: Sequence[Pair]) -> Batch:
        """Pairs as one batch."""
        return make_batch(self.encode_pairs(pairs))

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
                tokens.reshape(-1, 1), state.hidden, state.source, state.keys, state.lengths, None
            )
            scores = log_softmax_array(self.output(features).numpy()[:, 0])
        attention = None if weights is None else weights.numpy()[:, 0]
        return scores, attention, State(state.source, state.keys, state.lengths, hidden)

    def generate(
        self,
        inputs: str | Sequence[str],
        *,
        beam: int = 1,
        n_best: int = 1,
        max_length: int | None = None,
        length_penalty: str = "average",
        batch_size: int = 256,
    ) -> Any:
        """Targets for one source (a list of `n_best` results) or several (a list of such lists).

        beam 1 is greedy. At most `max_length` tokens, by default twice the source's and 20. Inputs are decoded sorted by
        length, `batch_size` at a time; what an input gives does not depend on the others.
        """
        if isinstance(inputs, str):
            return self.generate([inputs], beam=beam, n_best=n_best, max_length=max_length, length_penalty=length_penalty)[0]
        if max_length is not None and max_length < 1:
            raise range_error("generate", "max_length", "a whole number of at least 1", max_length)
        if batch_size < 1:
            raise range_error("generate", "batch_size", "a whole number of at least 1", batch_size)
        if beam < 1 or not 1 <= n_best <= beam:
            raise range_error("generate", "beam and n_best", "1 <= n_best <= beam", (beam, n_best))
        numbers = [self.source_vocabulary.encode(text) for text in inputs]
        order = sorted(range(len(inputs)), key=lambda i: (len(numbers[i]), i))
        results: list[list[Result]] = [[] for _ in inputs]
        training = self.training
        self.eval()
        try:
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                chosen = [numbers[i] for i in rows]
                limits = [2 * len(c) + 20 if max_length is None else max_length for c in chosen]
                for row, found in zip(rows, self._search(chosen, limits, beam, n_best, length_penalty), strict=True):
                    results[row] = [self._finish(inputs[row], r) for r in found]
        finally:
            self.train(training)
        return results

    def _search(self, inputs: list[list[int]], limits: list[int], width: int, n_best: int, penalty: str) -> list[list[Result]]:
        if width == 1:
            return [[r] for r in greedy(self, inputs, limits)]
        return beam(self, inputs, limits, width, n_best, penalty)

    def _finish(self, source: str, result: Result) -> Result:
        result.text = self.target_vocabulary.decode(result.tokens)
        result.source = tokenize(source, self.source_vocabulary.kind)
        result.target = [self.target_vocabulary.tokens[t] for t in result.tokens]
        return result

    # Keeping

    def save(self, path: str | Path) -> None:
        """Writes weights, options and vocabularies into a folder; what is there already is replaced file by file."""
        folder.save(self, path)

    @staticmethod
    def load(path: str | Path) -> Seq2Seq:
        """The model of a folder."""
        return folder.load(path, {"Seq2Seq": Seq2Seq})

    def summary(self) -> str:
        """The layers with their shapes, and the number of parameters."""
        rows = [f"{name:<36} {list(p.shape)!s:>16} {p.numel():>10,}" for name, p in self.named_parameters()]
        return "\n".join([*rows, f"{'parameters':<36} {'':>16} {self.count_parameters():>10,}"])

    def count_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters())
