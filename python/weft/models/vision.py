"""The Vision Transformer (Dosovitskiy et al. 2021): an image as a sequence of patches."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor, as_tensor, cat, no_grad
from ..errors import ConfigError, DtypeError, choice_error, shape_error
from ..nn import functional as F
from ..nn import init
from ..nn.layers import new_parameter
from .model import Model

POOLS = ("class", "mean")


class VisionTransformer(Model):
    """Classes of images [B, H, W] or [B, C, H, W]: patches through a linear layer, positions added, `layers` encoder layers, a linear head.

    `image_size` H = W or (H, W), cut into patches of `patch_size`; `pool`: the first token, a learned 'class' token, or the 'mean' of all
    tokens. Positions are learned; layers norm first, with GELU (paper, eq. 1-4). `dropout` after the positions and within the layers.

    >>> model = weft.models.VisionTransformer(28, 7, classes=10, hidden=32, layers=2, heads=2)
    >>> model(weft.randn(3, 28, 28)).shape
    (3, 10)
    """

    VOCABULARIES: tuple[str, ...] = ()

    def __init__(
        self,
        image_size: int | tuple[int, int],
        patch_size: int | tuple[int, int],
        *,
        classes: int,
        channels: int = 1,
        hidden: int = 64,
        layers: int = 4,
        heads: int = 4,
        feed_forward: int | None = None,
        dropout: float = 0.0,
        pool: str = "class",
    ) -> None:
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        rows, columns = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
        if min(rows, columns) < 1 or height % rows or width % columns:
            raise ConfigError(f"[vision] patch_size: expected divisors of {height} x {width}, got {rows} x {columns}")
        if pool not in POOLS:
            raise choice_error("vision", "pool", POOLS, pool)
        feed_forward = 4 * hidden if feed_forward is None else feed_forward
        self.options = {
            "image_size": [height, width], "patch_size": [rows, columns], "classes": classes, "channels": channels, "hidden": hidden,
            "layers": layers, "heads": heads, "feed_forward": feed_forward, "dropout": dropout, "pool": pool,
        }  # fmt: skip
        self.image, self.patch, self.channels, self.pool = (height, width), (rows, columns), channels, pool
        self.grid = height // rows, width // columns
        tokens = self.grid[0] * self.grid[1] + (pool == "class")
        self.embedding = nn.Linear(channels * rows * columns, hidden)
        self.positions = new_parameter("vision", (1, tokens, hidden), None)
        init.normal_(self.positions, std=0.02)
        self.register_parameter("token", new_parameter("vision", (1, 1, hidden), None) if pool == "class" else None)
        if self.token is not None:
            init.normal_(self.token, std=0.02)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(hidden, heads, feed_forward, dropout, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden))
        for p in self.encoder.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)
        self.head = nn.Linear(hidden, classes)

    def patches(self, images: Any) -> np.ndarray:
        """Images as [B, patches, C · rows · columns], row by row."""
        x = np.asarray(as_tensor(images)._array)
        if x.dtype.kind != "f":
            raise DtypeError(f"[vision] images: expected floats, got {x.dtype}")
        height, width = self.image
        if x.ndim == 3 and self.channels == 1:
            x = x[:, None]
        if x.ndim != 4 or x.shape[1:] != (self.channels, height, width):
            raise shape_error("vision", "images", f"shape [B, {self.channels}, {height}, {width}]", x.shape)
        (down, across), (rows, columns) = self.grid, self.patch
        x = x.reshape(len(x), self.channels, down, rows, across, columns).transpose(0, 2, 4, 1, 3, 5)
        return np.ascontiguousarray(x).reshape(len(x), down * across, self.channels * rows * columns)

    def tokens(self, images: Any) -> Tensor:
        """What the encoder reads [B, tokens, hidden]."""
        x = self.embedding(self.patches(images))
        if self.token is not None:
            x = cat([self.token.expand(x.shape[0], 1, x.shape[2]), x], 1)
        return self.dropout(x + self.positions)

    def forward(self, images: Any) -> Tensor:
        """Logits [B, classes]."""
        x = self.encoder(self.tokens(images))
        return self.head(x[:, 0] if self.pool == "class" else x.mean(1))

    def loss(self, images: Any, labels: Any, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of labels [B]."""
        return F.cross_entropy(self.forward(images), labels, label_smoothing=label_smoothing)

    def predict(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """The most probable class of each image [B]."""
        x = np.asarray(as_tensor(images)._array)
        with nn.evaluating(self), no_grad():
            found = [self.forward(x[i : i + batch_size]).numpy().argmax(1) for i in range(0, len(x), batch_size)]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def class_attention(self, images: Any, layer: int = -1) -> np.ndarray:
        """How much the class token looks at each patch in a layer: [B, heads, rows of patches, columns of patches]."""
        if self.pool != "class":
            raise ConfigError("[vision] class_attention: expected a model with pool='class'")
        with nn.evaluating(self), no_grad():
            x = self.tokens(images)
            blocks = list(self.encoder.layers)
            index = range(len(blocks))[layer]
            for block in blocks[:index]:
                x = block(x)
            x = blocks[index].norm1(x)
            attention = blocks[index].self_attn
            _, weights = attention(x, x, x, weights_of=(range(attention.num_heads), [0]))
        assert weights is not None
        return weights.numpy()[:, :, 0, 1:].reshape(x.shape[0], attention.num_heads, *self.grid)
