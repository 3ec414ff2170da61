"""Captions for handwritten digits, from what can be measured in their images."""

from __future__ import annotations

import numpy as np

from ..errors import shape_error

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WEIGHTS = ("thin", "middle", "thick")
SLANTS = ("slanted left", "upright", "slanted right")


def measure_digits(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of digits uint8 [N, H, W]: how thick their strokes are (twice the ink over its outline, in pixels), and their slant (columns to the
    right for each row upwards, by moments)."""
    if images.ndim != 3:
        raise shape_error("digits", "images", "shape [N, H, W]", images.shape)
    ink = images.astype(np.float64) / 255.0
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    edges = np.abs(np.diff(padded, axis=1)).sum((1, 2)) + np.abs(np.diff(padded, axis=2)).sum((1, 2))
    total = np.maximum(ink.sum((1, 2)), 1e-9)
    rows, columns = np.arange(images.shape[1]), np.arange(images.shape[2])
    row, column = (ink.sum(2) * rows).sum(1) / total, (ink.sum(1) * columns).sum(1) / total
    down, right = rows[None] - row[:, None], columns[None] - column[:, None]
    both = np.einsum("nij,ni,nj->n", ink, down, right) / total
    tall = np.einsum("nij,ni->n", ink, down**2) / total
    return 2.0 * total / np.maximum(edges / 2.0, 1e-9), -both / np.maximum(tall, 1e-9)


def caption_digits(images: np.ndarray, labels: np.ndarray, reference: np.ndarray | None = None) -> list[str]:
    """Captions such as "a thick seven slanted left": the class, and in which third of `reference` (by default the images themselves) the
    digit's thickness and slant lie."""
    thick, slant = measure_digits(images)
    bounds = [np.quantile(m, [1 / 3, 2 / 3]) for m in (measure_digits(images if reference is None else reference))]
    captions = []
    for label, t, s in zip(labels.tolist(), thick, slant, strict=True):
        weight, lean = WEIGHTS[int((t > bounds[0]).sum())], SLANTS[int((s > bounds[1]).sum())]
        captions.append(f"a {weight} {DIGITS[label]} {lean}")
    return captions
