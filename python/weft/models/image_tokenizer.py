"""Images as short sequences of codes (van den Oord et al. 2017, VQ-VAE), without convolutions: patches in, patches out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import nn, random
from ..autograd import Tensor, matmul, no_grad
from ..errors import ConfigError, DtypeError, range_error, shape_error
from .evaluation import Measured, validation_loss
from .model import Model

#: How much the encoder is drawn to its code (the paper's β).
COMMITMENT = 0.25
#: How slowly a code follows the mean of what it stands for (the paper's γ, A.1).
DECAY = 0.98
#: A code that stands for less than this many patches a step, on average, is moved.
RARE = 0.03


class ImageTokenizer(Model):
    """[B, height, width, channels] of 0…255 ↔ codes [B, tokens] of 0 … `codes` − 1.

    Patches of `patch` × `patch` go through two layers with GELU to a vector each, without a look at their neighbours, so that the same
    patch has the same code everywhere; the nearest of `codes` vectors stands for it. Positions, a Transformer layer and a linear layer
    make the patches of the decoder. Gradients go straight through the choice of the code. Codes are not trained but follow the mean of what
    they stand for, and those that stand for almost nothing are moved to where the encoder is farthest from every code (`measure` shows
    how many are in use).

    >>> tokenizer = weft.models.ImageTokenizer(height=8, width=8, patch=4, codes=16, hidden=16, heads=2)
    >>> tokenizer.encode(np.zeros((2, 8, 8), np.uint8)).shape
    (2, 4)
    """

    def __init__(
        self, *, height: int = 28, width: int = 28, channels: int = 1, patch: int = 4, codes: int = 128, size: int = 16, hidden: int = 96,
        heads: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        if height % patch or width % patch:
            raise ConfigError(f"[image_tokenizer] patch: expected a divisor of {height} and {width}, got {patch}")
        if codes < 2:
            raise range_error("image_tokenizer", "codes", "a whole number of at least 2", codes)
        self.options = {
            "height": height, "width": width, "channels": channels, "patch": patch, "codes": codes, "size": size, "hidden": hidden,
            "heads": heads,
        }  # fmt: skip
        self.height, self.width, self.channels, self.patch, self.codes = height, width, channels, patch, codes
        self.grid = height // patch, width // patch
        self.tokens = self.grid[0] * self.grid[1]
        flat = patch * patch * channels
        shape = hidden, heads, 2 * hidden, 0.0, "gelu"
        self.wide = nn.Linear(flat, hidden)
        self.deep = nn.Linear(hidden, hidden)
        self.narrow = nn.Linear(hidden, size)
        self.codebook = nn.Embedding(codes, size)
        nn.init.normal_(self.codebook.weight, std=0.5)
        self.unfold = nn.Linear(size, hidden)
        self.places = nn.PositionalEncoding(hidden, 0.0, self.tokens, kind="learned", batch_first=True)
        self.blend = nn.TransformerEncoderLayer(*shape, batch_first=True, norm_first=True)
        self.last = nn.LayerNorm(hidden)
        self.paint = nn.Linear(hidden, flat)
        self.codebook.weight.requires_grad = False
        #: How much each code stands for, the sum of it, and the last step's (vectors, codes), which are taken in before the next step.
        self._mass, self._sum = np.ones(codes), np.zeros((codes, size))
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    # Pixels

    def check(self, images: Any) -> np.ndarray:
        """Images as uint8 [B, height, width, channels]; a batch of grey ones may leave out the channel."""
        array = np.asarray(images)
        if array.dtype != np.uint8:
            raise DtypeError(f"[image_tokenizer] images: expected uint8, got {array.dtype}")
        if array.ndim == 3 and self.channels == 1:
            array = array[..., None]
        wished = (self.height, self.width, self.channels)
        if array.shape[1:] != wished:
            raise shape_error("image_tokenizer", "images", f"shape [B, {', '.join(map(str, wished))}]", np.shape(images))
        return array

    def _patches(self, images: np.ndarray) -> np.ndarray:
        """Pixels as float32 in −1…1 [B, tokens, patch · patch · channels]."""
        (rows, columns), p = self.grid, self.patch
        x = images.reshape(len(images), rows, p, columns, p, self.channels).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(len(images), self.tokens, -1).astype(np.float32) / np.float32(127.5) - np.float32(1.0)

    def _pixels(self, patches: np.ndarray) -> np.ndarray:
        (rows, columns), p = self.grid, self.patch
        x = patches.reshape(len(patches), rows, columns, p, p, self.channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(len(patches), self.height, self.width, self.channels)
        return np.clip(np.rint((x + 1.0) * 127.5), 0, 255).astype(np.uint8)

    # Codes

    def _say(self, patches: np.ndarray) -> Tensor:
        """What the encoder says of each patch [B, tokens, size]."""
        gelu = nn.functional.gelu
        return self.narrow(gelu(self.deep(gelu(self.wide(patches)))))

    def _nearest(self, said: Tensor) -> np.ndarray:
        """The number of the nearest code [B, tokens]: argmin |z|² − 2 z·e + |e|² without the first."""
        table = self.codebook.weight
        with no_grad():
            products = matmul(said.detach(), table.transpose(0, 1)).numpy()
            lengths = (table.detach() * table.detach()).sum(1).numpy()
        return (lengths - 2.0 * products).argmin(-1)

    def _draw(self, vectors: Tensor) -> Tensor:
        """Code vectors [B, tokens, size] → patches."""
        return self.paint(self.last(self.blend(self.places(self.unfold(vectors)))))

    def encode(self, images: Any, batch_size: int = 512) -> np.ndarray:
        """Codes [B, tokens] of images."""
        array = self.check(images)
        with nn.evaluating(self), no_grad():
            found = [self._nearest(self._say(self._patches(array[i : i + batch_size]))) for i in range(0, len(array), batch_size)]
        return np.concatenate(found) if found else np.zeros((0, self.tokens), np.int64)

    def decode(self, codes: Any, batch_size: int = 512) -> np.ndarray:
        """Images uint8 [B, height, width, channels] of codes."""
        numbers = np.asarray(codes)
        with nn.evaluating(self), no_grad():
            found = [
                self._pixels(self._draw(self.codebook(numbers[i : i + batch_size])).numpy())
                for i in range(0, len(numbers), batch_size)
            ]
        return np.concatenate(found) if found else np.zeros((0, self.height, self.width, self.channels), np.uint8)

    # Training: `train.fit(tokenizer, images)`

    def split(self, examples: Any, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The last images are what to check with."""
        array = self.check(examples)
        cut = len(array) - round(len(array) * share)
        return array[:cut], array[cut:]

    def encode_examples(self, examples: Any) -> np.ndarray:
        """The images, checked."""
        return self.check(examples)

    def count_batches(self, encoded: np.ndarray, tokens: int) -> int:
        """How many batches an epoch has."""
        return -(-len(encoded) // max(1, tokens // self.tokens))

    def batches(self, encoded: np.ndarray, tokens: int, generator: Any = None) -> Iterator[np.ndarray]:
        """Images in random order, or with no generator as they come."""
        size = max(1, tokens // self.tokens)
        order = np.arange(len(encoded)) if generator is None else generator.permutation(len(encoded))
        for first in range(0, len(encoded), size):
            yield encoded[order[first : first + size]]

    def count(self, batch: np.ndarray) -> tuple[int, int]:
        """Images, twice."""
        return len(batch), len(batch)

    def loss(self, batch: np.ndarray, label_smoothing: float = 0.0) -> Tensor:
        """Mean squared error of pixels in −1…1, and β times how far what was said is from its code."""
        if self.training:
            self._follow()
        patches = self._patches(batch)
        said = self._say(patches)
        numbers = self._nearest(said)
        vectors = self.codebook(numbers).detach()
        straight = said + (vectors - said.detach())
        apart, away = self._draw(straight) - patches, said - vectors
        if self.training:
            self._last = said.numpy().reshape(-1, said.shape[-1]).copy(), numbers.reshape(-1)
        return (apart * apart).mean() + (away * away).mean() * COMMITMENT

    def _follow(self) -> None:
        """Moves the codes after a step: to the running mean of what they stood for, and rare ones to where no code is near."""
        if self._last is None:
            self._sum = self.codebook.weight.numpy().astype(np.float64) * self._mass[:, None]
            return
        said, numbers = self._last
        total = np.zeros_like(self._sum)
        np.add.at(total, numbers, said)
        self._mass = DECAY * self._mass + (1.0 - DECAY) * np.bincount(numbers, minlength=self.codes)
        self._sum = DECAY * self._sum + (1.0 - DECAY) * total
        table = (self._sum / np.maximum(self._mass, 1e-9)[:, None]).astype(np.float32)
        rare = np.flatnonzero(self._mass < RARE)
        if len(rare):
            apart = ((said - table[numbers]) ** 2).sum(1)
            far = np.argsort(-apart, kind="stable")[: max(len(rare), len(said) // 8)]
            chosen = far[random.default_generator().permutation(len(far))[: len(rare)]]
            rare = rare[: len(chosen)]
            table[rare], self._mass[rare], self._sum[rare] = said[chosen], 1.0, said[chosen]
        with no_grad():
            self.codebook.weight[:] = table

    def measure(self, examples: Any) -> Measured:
        """Loss, the error of pixels (0…255), the share of codes in use, and the perplexity of their use."""
        array = self.check(examples)
        codes = self.encode(array)
        apart = self.decode(codes).astype(np.float64) - array
        p = np.bincount(codes.ravel(), minlength=self.codes) / max(1, codes.size)
        used = p[p > 0]
        metrics = {
            "pixel_rmse": float(np.sqrt((apart**2).mean())),
            "codes_used": float((p > 0).mean()),
            "code_perplexity": float(np.exp(-(used * np.log(used)).sum())),
        }
        return Measured(validation_loss(self, array), metrics)
