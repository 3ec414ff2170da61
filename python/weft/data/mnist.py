"""MNIST and what comes in its files: images of one size, and a class for each."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError


class Images(NamedTuple):
    """Images [N, rows, columns] and labels [N], uint8 both."""

    images: np.ndarray
    labels: np.ndarray


class MNIST(NamedTuple):
    """The two parts."""

    train: Images
    test: Images


def read_idx(path: str | Path) -> np.ndarray:
    """An array of bytes from an idx file, gz or not: 0, 0, type 8, number of axes, their sizes (big-endian), the numbers."""
    path = Path(path)
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: could not be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path}: expected an idx file of bytes, got one that begins with {content[:4].hex(' ')}")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", content[3], 4))
    start, count = 4 + 4 * content[3], int(np.prod(shape, dtype=np.int64))
    if len(content) != start + count:
        raise DataError(f"{path}: expected {count} bytes for shape {list(shape)}, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, count, start).reshape(shape)


def _part(folder: Path, part: str) -> Images:
    arrays = []
    for what in ("images-idx3", "labels-idx1"):
        names = [f"{part}-{what}-ubyte{end}" for end in ("", ".gz")] + [f"{part}-{what.replace('-idx', '.idx')}-ubyte"]
        found = next((folder / n for n in names if (folder / n).is_file()), None)
        if found is None:
            raise DataError(f"{folder}: expected {names[0]} or {names[1]}, found neither")
        arrays.append(read_idx(found))
    images, labels = arrays
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(f"{folder}: {part}: expected as many labels as images, got {list(images.shape)} and {list(labels.shape)}")
    return Images(images, labels)


def mnist(folder: str | Path) -> MNIST:
    """The four idx files of MNIST (or Fashion-MNIST) in a folder, packed by gzip or not.

    >>> digits = weft.data.mnist("mnist")          # doctest: +SKIP
    >>> digits.train.images.shape                  # doctest: +SKIP
    (60000, 28, 28)
    """
    folder = Path(folder)
    return MNIST(_part(folder, "train"), _part(folder, "t10k"))
