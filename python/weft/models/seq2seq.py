"""Encoder-decoder with attention, over RNN, LSTM or GRU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor, as_tensor, cat, no_grad, stack
from ..autograd.activation import log_softmax_array
from ..autograd.feeding import FedDecoder, FedSource, decode_fed
from ..data.batches import Batch, pad_sources
from ..data.features import Features
from ..data.vocabulary import PAD, Vocabulary
from ..errors import ConfigError, choice_error, range_error
from ..nn import functional as F
from ..nn.attention import SCORES
from ..nn.steps import AttentionSteps, RecurrentSteps
from .encoder_decoder import EncoderDecoder
from .seq2seq_steps import Seq2SeqSteps, StepState

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
CONTEXTS = ("initial", "every")
BRIDGES = ("dense", "copy", "zero")


@dataclass
class Source:
    """What the encoder read, as the decoder needs it: states [B, S, hidden], the attention's keys of them, lengths [B], and the summary
    [B, hidden] that is given at every step, if any."""

    states: Tensor
    keys: Tensor
    lengths: np.ndarray
    summary: Tensor | None = None
    #: Which input each row belongs to; None: each its own.
    inputs: np.ndarray | None = None

    def select(self, rows: np.ndarray) -> Source:
        """The given rows, also more than once; positions that no row needs are cut off. Where rows change within an input, as a beam's do,
        nothing is copied."""
        inputs = np.arange(len(self.lengths)) if self.inputs is None else self.inputs
        chosen = inputs[rows]
        if len(chosen) == len(inputs) and (chosen == inputs).all():
            return self
        lengths = self.lengths[rows]
        longest = max(1, int(lengths.max(initial=0)))
        summary = None if self.summary is None else self.summary[rows]
        states = self.states[rows, :longest]
        keys = states if self.keys is self.states else self.keys[rows, :longest]
        return Source(states, keys, lengths, summary, chosen)


@dataclass
class State:
    """A decoder's state: what `start` and `step` hand on. Rows are hypotheses."""

    source: Source
    #: h (and c) of every layer [layers, rows, hidden].
    hidden: list[Tensor]
    #: The last s̃ [rows, 1, hidden], with input feeding.
    fed: Tensor | None = None
    position: int = 0

    def select(self, rows: np.ndarray) -> State:
        """The given rows, also more than once."""
        fed = None if self.fed is None else self.fed[rows]
        return State(self.source.select(rows), [h[:, rows] for h in self.hidden], fed, self.position)


class Seq2Seq(EncoderDecoder):
    """Reads a source, then writes a target token by token (Sutskever et al. 2014; Luong et al. 2015).

    Encoder: embedding [B, S, E], `layers` recurrent layers, the first half of `hidden` units reading forward and the other backward
    when `bidirectional` (the default), or all from the last token to the first with `reverse_source` (Sutskever et al., §3.3). The decoder
    starts from tanh(W_b [last states]) with `bridge` 'dense' (Bahdanau et al. 2015, A.2.2), the states themselves with 'copy', or 0. It is
    one recurrent call over all target steps (teacher forcing), then one attention call: s̃_t = tanh(W_c [c_t; s_t]), logits = W_o s̃_t
    (Luong et al. 2015, eq. 5-6). `attention`: a score of `nn.Attention`, or 'none' (then c_t is left out); `local` and `window` as there.
    `context` 'every', without attention: the last state, after the bridge, is read at every step and is c_t (Cho et al. 2014).
    `input_feeding`: s̃_{t-1} is read beside the token (Luong et al., §3.3); the decoder then goes step by step in training too.
    `tie`: one table for the target's embedding and the projection (Press & Wolf 2017).

    >>> pairs = [weft.data.Pair("abc", "cba"), weft.data.Pair("bcd", "dcb")]
    >>> model = weft.models.Seq2Seq.from_pairs(pairs, cell="gru", hidden=16)
    >>> len(model.generate("abc", beam=2)[0].tokens) <= 26
    True
    """

    def __init__(
        self,
        source_vocabulary: Vocabulary | Features,
        target_vocabulary: Vocabulary,
        *,
        cell: str = "gru",
        attention: str = "general",
        local: str | None = None,
        window: int = 10,
        hidden: int = 256,
        embedding: int | None = None,
        layers: int = 1,
        bidirectional: bool | None = None,
        dropout: float = 0.0,
        reverse_source: bool = False,
        context: str = "initial",
        bridge: str = "dense",
        input_feeding: bool = False,
        tie: bool = False,
    ) -> None:
        super().__init__()
        for name, choices, value in (
            ("cell", CELLS, cell), ("attention", (*SCORES, "none"), attention), ("context", CONTEXTS, context), ("bridge", BRIDGES, bridge),
        ):  # fmt: skip
            if value not in choices:
                raise choice_error("seq2seq", name, choices, value)
        if reverse_source and bidirectional:
            raise ConfigError("[seq2seq] reverse_source: expected an encoder of one direction (bidirectional reads both ways)")
        bidirectional = not reverse_source if bidirectional is None else bidirectional
        if hidden < 1 or (bidirectional and hidden % 2):
            raise range_error("seq2seq", "hidden", "an even number of at least 2", hidden)
        if attention == "none" and input_feeding:
            raise ConfigError("[seq2seq] input_feeding: expected an attention, whose output is fed")
        if attention != "none" and context == "every":
            raise ConfigError("[seq2seq] context: expected attention 'none' beside 'every'")
        embedding = (hidden if tie else min(hidden, 128)) if embedding is None else embedding
        if tie and embedding != hidden:
            raise range_error("seq2seq", "embedding with tie", f"hidden, {hidden}", embedding)
        self.options = {
            "cell": cell, "attention": attention, "local": local, "window": window, "hidden": hidden, "embedding": embedding,
            "layers": layers, "bidirectional": bidirectional, "dropout": dropout, "reverse_source": reverse_source, "context": context,
            "bridge": bridge, "input_feeding": input_feeding, "tie": tie,
        }  # fmt: skip
        self.source_vocabulary, self.target_vocabulary = source_vocabulary, target_vocabulary
        self.hidden, self.layers, self.directions, self.lstm = hidden, layers, 2 if bidirectional else 1, cell == "lstm"
        self.every, self.feeding = context == "every", input_feeding
        layer = CELLS[cell]
        self.source_embedding: nn.Module
        if isinstance(source_vocabulary, Features):
            self.source_embedding = nn.Linear(source_vocabulary.width, embedding)
        else:
            self.source_embedding = nn.Embedding(len(source_vocabulary), embedding, padding_idx=PAD)
        self.target_embedding = nn.Embedding(len(target_vocabulary), embedding, padding_idx=PAD)
        between = dropout if layers > 1 else 0.0
        self.encoder = layer(
            embedding, hidden // self.directions, layers, batch_first=True, dropout=between, bidirectional=bidirectional,
            **({"reverse": True} if reverse_source else {}),
        )  # fmt: skip
        read = embedding + hidden if self.every or input_feeding else embedding
        self.decoder = layer(read, hidden, layers, batch_first=True, dropout=between)
        self.bridge_kind = bridge
        dense = (2 if self.lstm else 1) if bridge == "dense" else 0
        self.bridge = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(dense)])
        self.attention: nn.Attention | None = None
        if attention != "none":
            self.attention = nn.Attention(hidden, hidden, attention, local=local, window=window)
        if attention != "none" or self.every:
            self.combine = nn.Linear(2 * hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, len(target_vocabulary))
        if tie:
            self.output.weight = self.target_embedding.weight

    # Training

    def encode(self, source: np.ndarray, lengths: np.ndarray) -> tuple[Source, list[Tensor]]:
        """Source numbers [B, S], or features [B, S, F] → what the decoder reads, and its initial h (and c), each [layers, B, hidden]."""
        x = self.dropout(self.source_embedding(source))
        output, last = self.encoder(x, lengths=lengths)
        states = []
        for which, state in enumerate(last if self.lstm else (last,)):
            # [layers · directions, B, H / directions] → [layers, B, H], the directions of a layer side by side.
            rows = []
            for layer in range(self.layers):
                parts = [state[layer * self.directions + d] for d in range(self.directions)]
                joined = cat(parts, -1)
                rows.append(F.tanh(self.bridge[which](joined)) if self.bridge_kind == "dense" else joined)
            states.append(stack(rows))
        summary = states[0][-1] if self.every else None
        if self.bridge_kind == "zero":
            states = [as_tensor(np.zeros(s.shape, s.dtype)) for s in states]
        output = self.dropout(output)
        keys = output if self.attention is None else self.attention.project(output)
        return Source(output, keys, lengths, summary), states

    def decode(self, tokens: np.ndarray, state: State, steps: np.ndarray | None = None) -> tuple[Tensor, Tensor | None, State]:
        """Target numbers [B, T] after a state → s̃ [B, T, hidden], attention weights [B, T, S], the state after them. `steps`: how many
        of each row count."""
        x = self.dropout(self.target_embedding(tokens))
        if self.feeding:
            return self._decode_fed(x, state)
        summary = state.source.summary
        if summary is not None:
            x = cat([x, summary.unsqueeze(1).expand(-1, x.shape[1], -1)], -1)
        output, last = self.decoder(x, self._given(state), lengths=steps)
        weights = None
        if self.attention is not None:
            output, weights = self._attend(output, state.source, state.position)
        elif summary is not None:
            context = summary.unsqueeze(1).expand(-1, x.shape[1], -1)
            output = F.tanh(self.combine(cat([context, output], -1)))
        after = replace(state, hidden=list(last) if self.lstm else [last], position=state.position + tokens.shape[1])
        return self.dropout(output), weights, after

    def _given(self, state: State) -> Any:
        return (state.hidden[0], state.hidden[1]) if self.lstm else state.hidden[0]

    def _attend(self, output: Tensor, source: Source, position: int) -> tuple[Tensor, Tensor]:
        """Luong's eq. 5: the decoder's states [B, T, hidden] → s̃ and weights."""
        assert self.attention is not None
        context, weights = self.attention(output, source.states, keys=source.keys, lengths=source.lengths, start=position)
        return F.tanh(self.combine(cat([context, output], -1))), weights

    def _decode_fed(self, x: Tensor, state: State) -> tuple[Tensor, Tensor | None, State]:
        """Step by step, because each reads what the one before made of the source."""
        fed, source = state.fed, state.source
        if fed is None:
            fed = as_tensor(np.zeros((x.shape[0], 1, self.hidden), x.dtype))
        if self._feeds_as_one(x):
            read = FedSource(source.states, source.keys, source.lengths)
            made, after, looks = decode_fed(self._fed_decoder(), read, x, fed.squeeze(1), state.hidden)
            state = State(source, after, made[:, -1:], state.position + x.shape[1])
            return self.dropout(made), looks if x.shape[1] == 1 else None, state
        given = self._given(state)
        outputs, weights = [], []
        looked: Tensor | None
        for t, step in enumerate(x.split(1, 1)):
            output, given = self.decoder(cat([step, fed], -1), given)
            fed, looked = self._attend(output, source, state.position + t)
            outputs.append(fed)
            weights.append(looked)
        hidden = list(given) if self.lstm else [given]
        joined = cat(outputs, 1) if len(outputs) > 1 else outputs[0]
        looked = weights[0] if len(weights) == 1 else None
        return self.dropout(joined), looked, State(source, hidden, fed, state.position + x.shape[1])

    def _feeds_as_one(self, x: Tensor) -> bool:
        """Whether the operation of the whole decoder knows everything that this one does."""
        assert self.attention is not None
        return AttentionSteps.fits(self.attention) and RecurrentSteps.fits(self.decoder) and 0 not in x.shape

    def _fed_decoder(self) -> FedDecoder:
        attention = self.attention
        assert attention is not None
        return FedDecoder(
            self.decoder._cell, self.decoder.plain_layers(), attention.query.weight if attention.energy_of_sum else None,
            attention.energy if attention.energy_of_sum else None, attention.scale, (self.combine.weight, self.combine.bias),
        )  # fmt: skip

    def features(self, batch: Batch) -> Tensor:
        """s̃ [B, T, hidden] of every target step, the tokens before it given (teacher forcing)."""
        source, hidden = self.encode(batch.source, batch.source_lengths)
        return self.decode(batch.target_in, State(source, hidden), batch.target_lengths)[0]

    # Decoding

    def start(self, inputs: list[Any]) -> State | StepState:
        """A decoder state for sources as numbers."""
        with no_grad():
            source, hidden = self.encode(*pad_sources(inputs))
            if Seq2SeqSteps.fits(self):
                return Seq2SeqSteps(self).start(source, [h.numpy() for h in hidden])
            return State(source, hidden)

    def step(self, state: Any, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, State | StepState]:
        """One token further: log-probabilities [rows, V], attention weights [rows, S], the new state."""
        if isinstance(state, StepState):
            return state.steps(state, tokens)
        with no_grad():
            features, weights, after = self.decode(tokens.reshape(-1, 1), state)
            scores = log_softmax_array(self.output(features).numpy()[:, 0])
        return scores, None if weights is None else weights.numpy()[:, 0], after
