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
#: A code that was not taken for so many training steps gets the place of something the encoder said.
IDLE = 250


class ImageTokenizer(Model):
    """[B, height, width, channels] of 0…255 ↔ codes [B, tokens] of 0 … `codes` − 1.

    Patches of `patch` × `patch` go through a linear layer, GELU and a Transformer layer to a vector each; the nearest of `codes` vectors
    stands for it; positions, a Transformer layer and a linear layer make the patches of the decoder. Gradients go straight through the
    choice of the code. Codes that nobody takes are moved onto what the encoder says (`measure` shows how many are in use).

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
        self.mix = nn.TransformerEncoderLayer(*shape, batch_first=True, norm_first=True)
        self.positions = nn.PositionalEncoding(hidden, 0.0, self.tokens, kind="learned", batch_first=True)
        self.narrow = nn.Linear(hidden, size)
        self.codebook = nn.Embedding(codes, size)
        nn.init.normal_(self.codebook.weight, std=0.5)
        self.unfold = nn.Linear(size, hidden)
        self.places = nn.PositionalEncoding(hidden, 0.0, self.tokens, kind="learned", batch_first=True)
        self.blend = nn.TransformerEncoderLayer(*shape, batch_first=True, norm_first=True)
        self.last = nn.LayerNorm(hidden)
        self.paint = nn.Linear(hidden, flat)
        self._idle = np.zeros(codes, np.int64)
        self._said = np.zeros((0, size), np.float32)

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
        h = self.wide(patches)
        return self.narrow(self.mix(self.positions(nn.functional.gelu(h))))

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
        """Mean squared error of pixels in −1…1, what the codes are away from what was said, and β times the same for the encoder."""
        if self.training:
            self._revive()
        patches = self._patches(batch)
        said = self._say(patches)
        numbers = self._nearest(said)
        vectors = self.codebook(numbers)
        straight = said + (vectors.detach() - said.detach())
        apart = self._draw(straight) - patches
        to_codes, to_said = vectors - said.detach(), said - vectors.detach()
        loss = (apart * apart).mean() + (to_codes * to_codes).mean() + (to_said * to_said).mean() * COMMITMENT
        if self.training:
            self._idle += 1
            self._idle[np.unique(numbers)] = 0
            self._said = said.numpy()
        return loss

    def _revive(self) -> None:
        """Before a step: codes that were idle get places of what the encoder said in the step before."""
        dead = np.flatnonzero(self._idle > IDLE)
        if len(dead):
            rows = self._said.reshape(-1, self._said.shape[-1])
            chosen = random.default_generator().permutation(len(rows))[: len(dead)]
            with no_grad():
                self.codebook.weight[dead[: len(chosen)]] = rows[chosen]
            self._idle[dead] = 0

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
