"""The Transformer of Vaswani et al. 2017 as an encoder-decoder: embeddings, positions, layers, projection, cached decoding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad
from ..autograd.activation import log_softmax_array
from ..data.batches import Batch, pad_sources
from ..data.features import Features
from ..data.vocabulary import PAD, Vocabulary
from ..decoding.rules import bar
from ..errors import ConfigError, choice_error
from ..nn import init
from ..nn.cache import Cached, KeyValueCache
from .encoder_decoder import EncoderDecoder
from .transformer_steps import State, TransformerSteps

TIES = ("none", "decoder", "all")
POSITIONS = ("sinusoidal", "learned", "rotary")
#: The base of rotary positions (Su et al. 2021).
ROTARY = 10000.0


class Transformer(EncoderDecoder):
    """Reads a source and writes a target token by token, by attention alone (Vaswani et al. 2017); the paper's sizes by default.

    Embedding · √hidden + positions → `layers` encoder layers; `decoder_layers` decoder layers over the encoder's last; logits by
    `output`. `positions`: 'sinusoidal' as in the paper, 'learned' up to `max_length`, or 'rotary' in every self-attention (Su et al.
    2021). `tie`: one table for the decoder's embedding and the projection ('decoder', Press & Wolf 2017), also for the encoder's ('all':
    both sides then share a vocabulary), or 'none'. `norm_first`: layer norm before each part, and one at the end (Xiong et al. 2020).
    `depth_scaled`: initial weights of layer l are divided by √l (Zhang et al. 2019).

    Decoding keeps keys and values: a step costs what one token costs, to the bits of a pass over the whole prefix.

    >>> pairs = [weft.data.Pair("abc", "cba"), weft.data.Pair("bcd", "dcb")]
    >>> model = weft.models.Transformer.from_pairs(pairs, hidden=16, heads=2, layers=1, feed_forward=32)
    >>> len(model.generate("abc", beam=2)[0].tokens) <= 26
    True
    """

    def __init__(
        self,
        source_vocabulary: Vocabulary | Features,
        target_vocabulary: Vocabulary,
        *,
        hidden: int = 512,
        heads: int = 8,
        layers: int = 6,
        decoder_layers: int | None = None,
        feed_forward: int | None = None,
        dropout: float = 0.1,
        activation: str = "relu",
        norm_first: bool = False,
        positions: str = "sinusoidal",
        max_length: int = 1024,
        tie: str = "decoder",
        depth_scaled: bool = False,
    ) -> None:
        super().__init__()
        if tie not in TIES:
            raise choice_error("transformer", "tie", TIES, tie)
        if positions not in POSITIONS:
            raise choice_error("transformer", "positions", POSITIONS, positions)
        shared = isinstance(source_vocabulary, Vocabulary) and source_vocabulary.tokens == target_vocabulary.tokens
        if tie == "all" and not shared:
            raise ConfigError("[transformer] tie: expected one vocabulary for both sides to tie all three tables")
        decoder_layers = layers if decoder_layers is None else decoder_layers
        feed_forward = 4 * hidden if feed_forward is None else feed_forward
        self.options = {
            "hidden": hidden, "heads": heads, "layers": layers, "decoder_layers": decoder_layers, "feed_forward": feed_forward,
            "dropout": dropout, "activation": activation, "norm_first": norm_first, "positions": positions, "max_length": max_length,
            "tie": tie, "depth_scaled": depth_scaled,
        }  # fmt: skip
        self.source_vocabulary, self.target_vocabulary = source_vocabulary, target_vocabulary
        self.hidden, self.heads, self.max_length = hidden, heads, max_length
        self.source_embedding: nn.Module
        tables = []
        if isinstance(source_vocabulary, Features):
            self.source_embedding = nn.Linear(source_vocabulary.width, hidden)
        else:
            self.source_embedding = nn.Embedding(len(source_vocabulary), hidden, padding_idx=PAD)
            tables.append(self.source_embedding)
        self.target_embedding = nn.Embedding(len(target_vocabulary), hidden, padding_idx=PAD)
        tables.append(self.target_embedding)
        for table in tables:
            init.normal_(table.weight, std=hidden**-0.5)
            with no_grad():
                table.weight[PAD] = 0.0
        kind = "learned" if positions == "learned" else "sinusoidal"
        self.positions = (
            None if positions == "rotary" else nn.PositionalEncoding(hidden, 0.0, max_length, kind=kind, batch_first=True)
        )
        self.dropout = nn.Dropout(dropout)
        shape = hidden, heads, feed_forward, dropout, activation
        more: dict[str, Any] = {
            "batch_first": True,
            "norm_first": norm_first,
            "rotary": ROTARY if positions == "rotary" else None,
        }
        last = nn.LayerNorm(hidden) if norm_first else None
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(*shape, **more), layers, last)
        last = nn.LayerNorm(hidden) if norm_first else None
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*shape, **more), decoder_layers, last)
        self.output = nn.Linear(hidden, len(target_vocabulary))
        for stack in (self.encoder, self.decoder):
            for depth, layer in enumerate(stack.layers, 1):
                for p in layer.parameters():
                    if p.ndim > 1:
                        init.xavier_uniform_(p, 1.0 / math.sqrt(depth) if depth_scaled else 1.0)
        if tie == "all":
            self.target_embedding.weight = self.source_embedding.weight
        if tie != "none":
            self.output.weight = self.target_embedding.weight
        init.zeros_(self.output.bias)

    # Training

    def embed(self, tokens: np.ndarray, table: nn.Module, start: int = 0) -> Tensor:
        """Numbers [B, T] → embedding · √hidden + positions, after dropout."""
        self._check_length(start + tokens.shape[1])
        x = table(tokens) * self.scale
        return self.dropout(x if self.positions is None else self.positions(x, start))

    @property
    def scale(self) -> float:
        """√hidden, which embeddings are multiplied by."""
        return math.sqrt(self.hidden)

    def _check_length(self, length: int) -> None:
        if self.max_length is not None and length > self.max_length:
            raise ConfigError(f"[transformer] input: expected at most max_length {self.max_length} tokens, got {length}")

    def encode(self, source: np.ndarray, lengths: np.ndarray) -> Tensor:
        """Source numbers [B, S] → the encoder's last layer [B, S, hidden]."""
        return self.encoder(self.embed(source, self.source_embedding), lengths=lengths)

    def features(self, batch: Batch) -> Tensor:
        """The decoder's last layer [B, T, hidden], the true tokens before each step given."""
        memory = self.encode(batch.source, batch.source_lengths)
        x = self.embed(batch.target_in, self.target_embedding)
        return self.decoder(x, memory, tgt_is_causal=True, lengths=batch.target_lengths, memory_lengths=batch.source_lengths)

    def _mixed(self, batch: Batch, own: np.ndarray) -> np.ndarray:
        """In two passes (Mihaylova & Martins 2019): what the model says after the true tokens stands for what it would say itself."""
        logits = self.forward(batch).numpy()
        scores = logits.reshape(-1, logits.shape[-1])
        bar(scores, None)
        said = scores.argmax(1).reshape(own.shape)
        return np.where(own, np.concatenate([batch.target_in[:, :1], said[:, :-1]], 1), batch.target_in)

    # Decoding

    def start(self, inputs: list[Any]) -> State:
        """A state with one row for each source."""
        with no_grad():
            source, lengths = pad_sources(inputs)
            memory = self.encode(source, lengths)
            layers = list(self.decoder.layers)
            cache = KeyValueCache(len(layers), len(inputs), self.heads, self.hidden // self.heads, memory.dtype)
            memories = [layer.multihead_attn.remember(memory, lengths) for layer in layers]
            steps = TransformerSteps(self) if TransformerSteps.fits(self) else None
            return State(cache, memories, np.arange(len(inputs)), steps)

    def step(self, state: State, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, State]:
        """One token further; the attention of the last layer over the source, the mean of its heads, is the alignment."""
        with no_grad():
            position = int(state.cache.lengths[0]) if len(state.cache.lengths) else 0
            if state.steps is not None:
                self._check_length(position + 1)
                return *state.steps(state, tokens, position), state
            x = self.embed(tokens.reshape(-1, 1), self.target_embedding, position)
            state.cache.reserve(1)
            weights: list[np.ndarray] = []
            last = len(state.memories) - 1
            cached = [
                Cached(state.cache, i, memory, state.rows, weights if i == last else None)
                for i, memory in enumerate(state.memories)
            ]
            features = self.decoder(x, None, cached=cached)
            state.cache.advance(1)
            scores = log_softmax_array(self.output(features).numpy()[:, 0])
        return scores, weights[0], state
