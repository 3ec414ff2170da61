"""What all encoder-decoders share: pairs in, batches, the loss, decoding by greedy or beam search, saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, no_grad
from ..data.batches import Batch, Encoded, batches, encode_pairs, groups, make_batch, pair_lengths
from ..data.features import Features, width_of
from ..data.kinds import make_vocabulary
from ..data.pairs import Pair, key_of, split_pairs
from ..data.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from ..decoding import Ranking, Result, Rules, Strategy
from ..decoding.rules import bar
from ..errors import ConfigError, range_error
from ..nn import functional as F
from ..nn.evaluating import evaluating
from . import folder
from .evaluation import Measured, evaluate

#: How many sources of the validation pairs are decoded after an epoch.
DECODED = 1000


class EncoderDecoder(nn.Module):
    """The interface of `Seq2Seq` and `Transformer`.

    A model has `options` (what its constructor was given), both vocabularies, `output` (features to logits), `features(batch)` [B, T, D] of
    every target step with the true tokens before it given, and for decoding `start(inputs)` and `step(state, tokens)`, as
    `decoding.Decodable` says.
    """

    VOCABULARIES = ("source_vocabulary", "target_vocabulary")

    options: dict[str, Any]
    source_vocabulary: Vocabulary | Features
    target_vocabulary: Vocabulary
    output: nn.Linear
    #: Positions that the model knows; None: any.
    max_length: int | None = None

    if TYPE_CHECKING:

        def features(self, batch: Batch) -> Tensor: ...
        def start(self, inputs: list[Any]) -> Any: ...
        def step(self, state: Any, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, Any]: ...

    @classmethod
    def from_pairs(
        cls,
        pairs: Sequence[Pair],
        *,
        tokens: str | tuple[str | None, str | None] | None = None,
        vocabulary_size: int | tuple[int | None, int | None] | None = None,
        min_count: int = 1,
        shared: bool = False,
        **options: Any,
    ) -> Self:
        """A model with vocabularies made from pairs.

        `tokens`: 'character', 'word', or with the `text` extra 'bpe' or 'unigram'; one for both sides or one for each. Without it strings
        are split into characters, and lists of tokens or whole numbers are taken as they are. `vocabulary_size` and `min_count` keep the
        most frequent tokens; `shared`: one vocabulary for both sides. A side of float arrays [T, F] needs none.
        """
        if len(pairs) == 0:
            raise ConfigError("[model] pairs: expected at least one pair, got none")
        kinds = tokens if isinstance(tokens, tuple) else (tokens, tokens)
        sizes = vocabulary_size if isinstance(vocabulary_size, tuple) else (vocabulary_size, vocabulary_size)
        sources, targets = [p[0] for p in pairs], [p[1] for p in pairs]
        source: Vocabulary | Features
        if shared:
            source = target = make_vocabulary([*sources, *targets], kinds[0], sizes[0], min_count)
        else:
            target = make_vocabulary(targets, kinds[1], sizes[1], min_count)
            numbers = np.asarray(sources[0]) if not isinstance(sources[0], str) else None
            if numbers is not None and (numbers.ndim > 1 or numbers.dtype.kind == "f"):
                source = Features(width_of(sources))
            else:
                source = make_vocabulary(sources, kinds[0], sizes[0], min_count)
        make: Any = cls
        return make(source, target, **options)

    # Training

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

    def split(self, examples: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
        """A part to learn from and a part to check with, by a fixed hash of the source."""
        return split_pairs(examples, share)

    def encode_examples(self, examples: Sequence[Pair]) -> list[Encoded]:
        """Pairs as numbers; refuses a pair that is longer than the model's positions."""
        encoded = encode_pairs(examples, self.source_vocabulary, self.target_vocabulary)
        if self.max_length is not None:
            for i, pair in enumerate(encoded):
                for name, length in (("source", len(pair.source)), ("target", len(pair.target) + 1)):
                    if length > self.max_length:
                        raise ConfigError(
                            f"[model] pair {i}: expected a {name} of at most {self.max_length} tokens, the end counted, got {length}"
                        )
        return encoded

    def collate(self, pairs: Sequence[Pair]) -> Batch:
        """Pairs as one batch."""
        return make_batch(self.encode_examples(pairs))

    def batches(self, encoded: Sequence[Encoded], tokens: int, generator: Any = None) -> Iterator[Batch]:
        """Batches of pairs of about equal length: see `data.batches`."""
        return batches(encoded, tokens, generator)

    def count_batches(self, encoded: Sequence[Encoded], tokens: int) -> int:
        """How many batches an epoch has: exact, since shuffling moves pairs of equal lengths only."""
        return len(groups(pair_lengths(encoded), tokens))

    def count(self, batch: Batch) -> tuple[int, int]:
        """Target tokens, the ends counted, and pairs."""
        return int(batch.target_lengths.sum()), len(batch.source)

    def with_own_tokens(self, batch: Batch, share: float, generator: Any) -> Batch:
        """Scheduled sampling (Bengio et al. 2015): a batch whose decoder reads, each by itself, a true token with probability `share` and
        otherwise the one that the model itself says there, after what it has read so far. No gradient goes through that choice."""
        own = generator.uniform(0.0, 1.0, batch.target_in.shape) >= share
        own[:, 0] = False
        if not own.any():
            return batch
        with no_grad():
            return batch._replace(target_in=self._mixed(batch, own))

    def _mixed(self, batch: Batch, own: np.ndarray) -> np.ndarray:
        """`target_in` with the model's own tokens where `own` [B, T] says so, step by step."""
        state = self.start([s[:n] for s, n in zip(batch.source, batch.source_lengths.tolist(), strict=True)])
        tokens = batch.target_in.copy()
        for t in range(tokens.shape[1] - 1):
            scores, _, state = self.step(state, tokens[:, t])
            bar(scores, None)
            tokens[:, t + 1] = np.where(own[:, t + 1], scores.argmax(1), tokens[:, t + 1])
        return tokens

    def measure(self, examples: Sequence[Pair]) -> Measured:
        """Loss, error rates of greedy decoding and three samples, on at most the first DECODED sources."""
        keys = list(dict.fromkeys(key_of(p.source) for p in examples))[:DECODED]
        chosen = set(keys)
        found = evaluate(self, [p for p in examples if key_of(p.source) in chosen])
        samples = [[s, found.outputs[s]] for s in keys[:: max(1, len(keys) // 3)][:3]]
        rates = {"token_error_rate": found.token_error_rate, "sequence_error_rate": found.sequence_error_rate}
        return Measured(found.loss, rates, samples)

    # Decoding

    def generate(
        self,
        inputs: Any,
        *,
        beam: int = 1,
        n_best: int = 1,
        max_length: int | None = None,
        length_penalty: str = "average",
        coverage_penalty: float = 0.0,
        stop: str = "full",
        batch_size: int = 256,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | Sequence[int] = 0,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
        repetition_penalty: float = 1.0,
        forbidden: Sequence[Any] = (),
        required: Sequence[Any] = (),
        prefix: Any = None,
        copy_unknown: bool = False,
    ) -> Any:
        """Targets for one source (a list of `n_best` results) or a list of sources (a list of such lists).

        beam 1 is greedy; `length_penalty`, `coverage_penalty` and `stop` as in `decoding.Ranking`. With a `temperature` tokens are drawn
        instead, `n_best` texts for each input: only among the `top_k` most probable tokens, the fewest that hold `top_p` of the
        probability, those with at least `min_p` of the largest; `seed` is one number or one for each input. At most `max_length` tokens,
        by default twice the source's and 20, and never more than the model has positions for; at least `min_length`. `no_repeat_ngram`:
        no run of so many tokens occurs twice. `repetition_penalty`: log-probabilities of tokens said already are multiplied by it.
        `forbidden`: texts that must not occur. `required`: texts that must occur, or a list of them for each input (beam search with
        places for every number of tokens said, Post & Vilar 2018). `prefix`: what the target begins with, one text or one for each input.
        `copy_unknown`: <unk> may be said, and the source token that the model looked at most stands in its place (Luong et al. 2015b).
        Inputs are decoded sorted by length, `batch_size` at a time; what an input gives does not depend on the others.
        """
        alone = self._is_one(inputs)
        texts = [inputs] if alone else list(inputs)
        if max_length is not None and max_length < 1:
            raise range_error("generate", "max_length", "a whole number of at least 1", max_length)
        if batch_size < 1:
            raise range_error("generate", "batch_size", "a whole number of at least 1", batch_size)
        ranking = Ranking(length_penalty, coverage_penalty, stop)
        strategy = Strategy.of(beam, n_best, ranking, temperature, top_k, top_p, min_p)
        seeds = [seed] * len(texts) if isinstance(seed, int) else list(seed)
        begins = [prefix] * len(texts) if prefix is None or self._is_one(prefix) else list(prefix)
        wishes = [required] * len(texts) if all(self._is_one(r) for r in required) else list(required)
        if not len(seeds) == len(begins) == len(wishes) == len(texts):
            got = f"{len(seeds)}, {len(begins)} and {len(wishes)}"
            raise ConfigError(f"[generate] seed, prefix and required: expected one, or {len(texts)}, got {got}")
        rules = Rules(
            min_length, no_repeat_ngram, repetition_penalty, tuple(self._known("forbidden", text) for text in forbidden),
            tuple(self._known("prefix", text) for text in begins) if prefix is not None else None,
            tuple(tuple(self._known("required", text) for text in some) for some in wishes) if len(required) else None,
            copy_unknown,
        )  # fmt: skip
        numbers: list[Any] = [self.source_vocabulary.encode(text) for text in texts]
        # The last step of a model with so many positions is the end.
        most = 2**31 if self.max_length is None else self.max_length - 1
        limits = [min(most, 2 * len(n) + 20 if max_length is None else max_length) for n in numbers]
        rules.check(limits)
        order = sorted(range(len(texts)), key=lambda i: (len(numbers[i]), i))
        results: list[list[Result]] = [[] for _ in texts]
        with evaluating(self):
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                some = rules.of(rows)
                found = strategy.decode(
                    self, [numbers[i] for i in rows], [limits[i] for i in rows], [seeds[i] for i in rows],
                    None if some == Rules() else some,
                )  # fmt: skip
                for row, chosen in zip(rows, found, strict=True):
                    results[row] = [self._finish(texts[row], r) for r in chosen]
        return results[0] if alone else results

    def _is_one(self, text: Any) -> bool:
        """Whether this is one text (or list of tokens, or array) and not several."""
        if isinstance(text, (str, np.ndarray)):
            return True
        first = next(iter(text), None)
        return isinstance(first, (int, np.integer))

    def _known(self, name: str, text: Any) -> tuple[int, ...]:
        """A text of the target side as numbers; refuses what the model could never say."""
        if text is None:
            return ()
        unknown = [t for t in self.target_vocabulary.tokenize(text) if t not in self.target_vocabulary]
        if unknown:
            raise ConfigError(f"[generate] {name}: expected tokens of the target vocabulary, got {unknown[0]!r}")
        return tuple(self.target_vocabulary.encode(text))

    def score(self, pairs: Sequence[Pair], batch_size: int = 256) -> np.ndarray:
        """log p(target | source) of each pair, the end counted: what decoding calls `logprob`."""
        found = np.zeros(len(pairs))
        with evaluating(self), no_grad():
            for first in range(0, len(pairs), batch_size):
                batch = self.collate(pairs[first : first + batch_size])
                logits = self.forward(batch)
                rows, wanted = logits.reshape(-1, logits.shape[-1]), batch.target_out.reshape(-1)
                loss = F.cross_entropy(rows, wanted, ignore_index=PAD, reduction="none").numpy()
                found[first : first + len(batch.source)] = -loss.reshape(batch.target_out.shape).sum(1, dtype=np.float64)
        return found

    def stream(self, text: str, *, max_length: int | None = None) -> Iterator[str]:
        """The greedy target of one source, token by token as it comes.

        >>> pairs = [weft.data.Pair("ab", "ba")]
        >>> model = weft.models.Seq2Seq.from_pairs(pairs, hidden=8)
        >>> "".join(model.stream("ab")) == model.generate("ab")[0].text
        True
        """
        numbers: Any = self.source_vocabulary.encode(text)
        limit = 2 * len(numbers) + 20 if max_length is None else max_length
        limit = limit if self.max_length is None else min(limit, self.max_length - 1)
        with evaluating(self):
            state = self.start([numbers])
            token = START
            for _ in range(limit):
                scores, _, state = self.step(state, np.array([token]))
                bar(scores, None)
                token = int(scores[0].argmax())
                if token == END:
                    return
                yield self.target_vocabulary.tokens[token]

    def _finish(self, source: Any, result: Result) -> Result:
        result.source = self.source_vocabulary.tokenize(source)
        result.target = [self.target_vocabulary.tokens[t] for t in result.tokens]
        if UNKNOWN in result.tokens and result.alignment is not None and result.source:
            looked = result.alignment[:, : len(result.source)].argmax(1)
            result.target = [
                result.source[looked[i]] if t == UNKNOWN else said
                for i, (t, said) in enumerate(zip(result.tokens, result.target, strict=True))
            ]
        result.text = self.target_vocabulary.join(result.target)
        return result

    # Keeping

    def save(self, path: str | Path) -> None:
        """Writes weights, options and vocabularies into a folder; what is there already is replaced file by file."""
        folder.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model of a folder."""
        return folder.load(path, {cls.__name__: cls})

    def summary(self) -> str:
        """The layers with their shapes, and the number of parameters."""
        rows = [f"{name:<36} {list(p.shape)!s:>16} {p.numel():>10,}" for name, p in self.named_parameters()]
        return "\n".join([*rows, f"{'parameters':<36} {'':>16} {self.count_parameters():>10,}"])

    def count_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters())
