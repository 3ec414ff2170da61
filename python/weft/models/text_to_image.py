"""Pictures from words: one Transformer over the tokens of a caption and the codes of its image (Ramesh et al. 2021, DALL-E, in small)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from .. import nn, random
from ..autograd import Tensor, cat, no_grad
from ..autograd.activation import log_softmax_array
from ..autograd.frozen import FrozenLinear
from ..config import get_num_threads
from ..data.kinds import make_vocabulary
from ..data.labelled import Labelled, split_labelled
from ..data.vocabulary import PAD, UNKNOWN, Vocabulary
from ..decoding import Cut
from ..errors import ConfigError, DataError, range_error
from ..nn import functional as F
from ..nn import init
from ..nn.cache import KeyValueCache
from ..nn.steps import EncoderSteps
from .evaluation import Measured, validation_loss
from .image_tokenizer import ImageTokenizer
from .model import Model


class CaptionBatch(NamedTuple):
    """Caption tokens [B, caption] and image codes [B, tokens]."""

    captions: np.ndarray
    codes: np.ndarray


class TextToImage(Model):
    """Writes an image code by code after its caption.

    The sequence is the caption's tokens, filled up to `caption` places, a start, and the codes of `tokenizer`, row by row; positions are
    learned. `train.fit(model.tokenizer, images)` comes first, then `train.fit(model, [(caption, image), …])`. One in ten captions is left
    out in training, so that `guidance` can ask for more of what the caption adds (Ho & Salimans 2022): logits without it + guidance ·
    (with − without). Sampling keeps keys and values.

    >>> pairs = [("dark", np.zeros((8, 8), np.uint8)), ("light", np.full((8, 8), 255, np.uint8))]
    >>> model = weft.models.TextToImage.from_pairs(pairs, patch=4, codes=8, hidden=16, heads=2, layers=1)
    >>> model.generate("dark", n=2).shape
    (2, 8, 8, 1)
    """

    VOCABULARIES = ("vocabulary",)
    #: The share of captions that are left out in training.
    LEFT_OUT = 0.1

    def __init__(
        self, vocabulary: Vocabulary, *, image: dict[str, Any] | None = None, caption: int = 16, hidden: int = 128, heads: int = 4,
        layers: int = 4, feed_forward: int | None = None, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        if caption < 1:
            raise range_error("text_to_image", "caption", "a whole number of at least 1", caption)
        feed_forward = 4 * hidden if feed_forward is None else feed_forward
        self.vocabulary, self.caption, self.hidden, self.heads, self.layers = vocabulary, caption, hidden, heads, layers
        self.tokenizer = ImageTokenizer(**(image or {}))
        self.options = {
            "image": self.tokenizer.options, "caption": caption, "hidden": hidden, "heads": heads, "layers": layers,
            "feed_forward": feed_forward, "dropout": dropout,
        }  # fmt: skip
        self.words = nn.Embedding(len(vocabulary), hidden)
        self.codes = nn.Embedding(self.tokenizer.codes + 1, hidden)
        self.positions = nn.PositionalEncoding(hidden, 0.0, caption + 1 + self.tokenizer.tokens, kind="learned", batch_first=True)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(hidden, heads, feed_forward, dropout, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden))
        self.output = nn.Linear(hidden, self.tokenizer.codes)
        for module in (self.words, self.codes, self.body):
            for p in module.parameters():
                if p.ndim > 1:
                    init.normal_(p, std=0.02)

    @classmethod
    def from_pairs(
        cls, pairs: Sequence[Any], *, tokens: str = "word", patch: int = 4, codes: int = 128, size: int = 16, **options: Any
    ) -> Self:
        """A model for (caption, image) with images of one size, uint8 [H, W] or [H, W, C]."""
        if not len(pairs):
            raise ConfigError("[text_to_image] pairs: expected at least one, got none")
        vocabulary = make_vocabulary([p[0] for p in pairs], tokens)
        shape = np.shape(pairs[0][1])
        if len(shape) not in (2, 3):
            raise DataError(f"[text_to_image] image 0: expected shape [H, W] or [H, W, C], got {list(shape)}")
        image = {
            "height": shape[0], "width": shape[1], "channels": shape[2] if len(shape) == 3 else 1, "patch": patch, "codes": codes,
            "size": size,
        }  # fmt: skip
        caption = max(len(vocabulary.encode(p[0])) for p in pairs)
        return cls(vocabulary, image=image, caption=caption, **options)

    # Training

    def read_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Captions as numbers [B, caption], filled up with <pad>; words that were never seen become <unk>."""
        found = np.full((len(captions), self.caption), PAD, np.int64)
        for i, text in enumerate(captions):
            numbers = self.vocabulary.encode(text)
            if not 0 < len(numbers) <= self.caption:
                raise DataError(f"[text_to_image] caption {text!r:.60}: expected 1 to {self.caption} tokens, got {len(numbers)}")
            found[i, : len(numbers)] = numbers
        return found

    def split(self, examples: Sequence[Any], share: float) -> tuple[list[Labelled], list[Labelled]]:
        """By a fixed hash of the image."""
        turned = split_labelled([Labelled(np.asarray(image), caption) for caption, image in examples], share, by_label=False)
        learn, check = ([Labelled(e.label, e.input) for e in part] for part in turned)
        return learn, check

    def encode_examples(self, examples: Sequence[Any]) -> CaptionBatch:
        """All captions and the codes of all images."""
        captions = self.read_captions([e[0] for e in examples])
        for i, e in enumerate(examples):
            if np.shape(e[1]) != np.shape(examples[0][1]):
                raise DataError(
                    f"[text_to_image] image {i}: expected shape {list(np.shape(examples[0][1]))} like image 0, got {list(np.shape(e[1]))}"
                )
        return CaptionBatch(captions, self.tokenizer.encode(np.array([e[1] for e in examples])))

    def count_batches(self, encoded: CaptionBatch, tokens: int) -> int:
        """How many batches an epoch has."""
        return -(-len(encoded.codes) // self._rows(tokens))

    def _rows(self, tokens: int) -> int:
        return max(1, tokens // (self.caption + 1 + self.tokenizer.tokens))

    def batches(self, encoded: CaptionBatch, tokens: int, generator: Any = None) -> Iterator[CaptionBatch]:
        """Pairs in random order, some captions left out; or with no generator as they come."""
        rows = self._rows(tokens)
        order = np.arange(len(encoded.codes)) if generator is None else generator.permutation(len(encoded.codes))
        for first in range(0, len(order), rows):
            some = order[first : first + rows]
            captions = encoded.captions[some]
            if generator is not None:
                out = generator.uniform(0.0, 1.0, (len(some),)) < self.LEFT_OUT
                captions = np.where(out[:, None], self._nothing(len(some)), captions)
            yield CaptionBatch(captions, encoded.codes[some])

    def _nothing(self, rows: int) -> np.ndarray:
        """Captions that say nothing."""
        return np.full((rows, self.caption), UNKNOWN, np.int64)

    def count(self, batch: CaptionBatch) -> tuple[int, int]:
        """Codes, and images."""
        return batch.codes.size, len(batch.codes)

    def _embedded(self, captions: np.ndarray, codes: np.ndarray) -> Tensor:
        """[B, caption + 1 + n, hidden]: words, the start, the codes that were written."""
        start = np.full((len(captions), 1), self.tokenizer.codes, np.int64)
        joined = cat([self.words(captions), self.codes(np.concatenate([start, codes], 1))], 1)
        return self.dropout(self.positions(joined))

    def forward(self, batch: CaptionBatch) -> Tensor:
        """Logits [B, tokens, codes] of each code after the caption and the codes before it."""
        return self.output(self._features(batch))

    def _features(self, batch: CaptionBatch) -> Tensor:
        return self.body(self._embedded(batch.captions, batch.codes[:, :-1]), is_causal=True)[:, self.caption :]

    def loss(self, batch: CaptionBatch, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of the codes."""
        output = self.output
        return F.linear_cross_entropy(
            self._features(batch), output.weight, batch.codes, output.bias, label_smoothing=label_smoothing
        )

    def measure(self, examples: Sequence[Any]) -> Measured:
        """Loss in nats a code, and the share of codes that are the most probable ones."""
        encoded = self.encode_examples(examples)
        right = 0
        with nn.evaluating(self), no_grad():
            for batch in self.batches(encoded, 16384):
                right += int((self.forward(batch).numpy().argmax(-1) == batch.codes).sum())
        return Measured(validation_loss(self, examples), {"code_accuracy": right / max(1, encoded.codes.size)})

    # Use

    def generate(
        self,
        captions: str | Sequence[str],
        *,
        n: int = 1,
        temperature: float | None = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        guidance: float = 1.0,
        seed: int = 0,
        rerank: Callable[[np.ndarray, str], Any] | None = None,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Images uint8 of a caption [n, H, W, C], or of several [captions, n, H, W, C].

        `temperature` None takes the most probable code each time; `top_k` and `top_p` as in `decoding.Cut`; `guidance` 1 is the model as
        it is, more holds closer to the caption. `rerank(images, caption)` gives a number for each image, the best first then. `batch_size`:
        images drawn at once, 16 for each thread unless given, which changes no image.
        """
        codes = self.write(
            captions, n=n, temperature=temperature, top_k=top_k, top_p=top_p, guidance=guidance, seed=seed, batch_size=batch_size
        )
        texts = [captions] if isinstance(captions, str) else list(captions)
        images = self.tokenizer.decode(codes.reshape(-1, self.tokenizer.tokens)).reshape(len(texts), n, *self._image())
        if rerank is not None:
            for i, text in enumerate(texts):
                scores = np.asarray(rerank(images[i], text), np.float64)
                if scores.shape != (n,):
                    raise DataError(f"[text_to_image] rerank: expected {n} numbers, got shape {list(scores.shape)}")
                images[i] = images[i][np.argsort(-scores, kind="stable")]
        return images[0] if isinstance(captions, str) else images

    def _image(self) -> tuple[int, int, int]:
        return self.tokenizer.height, self.tokenizer.width, self.tokenizer.channels

    def write(
        self, captions: str | Sequence[str], *, n: int = 1, temperature: float | None = 1.0, top_k: int | None = None,
        top_p: float = 1.0, guidance: float = 1.0, seed: int = 0, batch_size: int | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The codes [captions, n, tokens] that `generate` draws; what a caption gives does not depend on the others."""
        if n < 1:
            raise range_error("generate", "n", "a whole number of at least 1", n)
        if not guidance >= 0.0:
            raise range_error("generate", "guidance", "a number of at least 0", guidance)
        cut = None if temperature is None else Cut(temperature, top_k, top_p)
        if batch_size is not None and batch_size < 1:
            raise range_error("generate", "batch_size", "a whole number of at least 1", batch_size)
        # Of more images than these the keys and values of a step come from further away than those of fewer twice.
        batch_size = batch_size or 16 * get_num_threads()
        texts = [captions] if isinstance(captions, str) else list(captions)
        numbers = np.repeat(self.read_captions(texts), n, 0)
        seeds = [seed * 1_000_003 + i % n for i in range(len(numbers))]
        found = [
            self._write(numbers[i : i + batch_size], cut, guidance, seeds[i : i + batch_size])
            for i in range(0, len(numbers), batch_size)
        ]
        return np.concatenate(found).reshape(len(texts), n, self.tokenizer.tokens) if found else np.zeros((0, n, 0), np.int64)

    def _write(self, captions: np.ndarray, cut: Cut | None, guidance: float, seeds: list[int]) -> np.ndarray:
        rows, tokens = len(captions), self.tokenizer.tokens
        guided = guidance != 1.0
        read = np.concatenate([captions, self._nothing(rows)]) if guided else captions
        draws = np.array([random.Generator(s).uniform(0.0, 1.0, (tokens,), np.float64) for s in seeds]) if cut else None
        written = np.zeros((rows, tokens), np.int64)
        table, places = self.codes.weight.numpy(), self.positions.positions.numpy()
        with nn.evaluating(self), no_grad():
            width, room = self.hidden // self.heads, self.caption + 1 + tokens
            cache = KeyValueCache(self.layers, len(read), self.heads, width, self.words.weight.dtype, room)
            first = self._embedded(read, np.zeros((len(read), 0), np.int64))
            # The captions and the start at once, then a code a step.
            cache.reserve(first.shape[1])
            features = self.body(first, cached=cache).numpy()[:, -1]
            cache.advance(first.shape[1])
            steps = EncoderSteps(self.body) if EncoderSteps.fits(self.body) else None
            output = FrozenLinear(self.output.weight, self.output.bias)
            for t in range(tokens):
                if t:
                    last = written[:, t - 1]
                    x = table[np.concatenate([last, last]) if guided else last] + places[self.caption + t]
                    cache.reserve(1)
                    features = self.body(Tensor(x[:, None]), cached=cache).numpy()[:, 0] if steps is None else steps(x, cache)
                    cache.advance(1)
                logits = output(np.ascontiguousarray(features))
                if guided:
                    without = logits[rows:]
                    logits = without + np.float32(guidance) * (logits[:rows] - without)
                if draws is None or cut is None:
                    chosen = logits.argmax(1)
                else:
                    chosen = cut.draw(log_softmax_array(logits), draws[:, t])
                written[:, t] = chosen
        return written
