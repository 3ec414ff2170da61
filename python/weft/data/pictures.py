"""Captioned pictures from files."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..errors import ConfigError, DataError
from .captions import caption_digits
from .labelled import Labelled
from .mnist import mnist


def read_pictures(path: str | Path, part: str = "train") -> list[Labelled]:
    """(caption, image) of a .npz file with `images` uint8 [N, H, W] or [N, H, W, C] and `captions` [N], or of a folder with the four idx
    files of MNIST, whose captions say what is measured in the image; `part` of these: 'train' or 'test'.

    >>> import tempfile; file = Path(tempfile.mkdtemp()) / "pictures.npz"
    >>> np.savez(file, images=np.zeros((2, 8, 8), np.uint8), captions=["dark", "darker"])
    >>> weft.data.read_pictures(file)[1].input
    'darker'
    """
    path = Path(path)
    if path.is_dir():
        digits = mnist(path)
        images, labels = getattr(digits, part)
        captions = caption_digits(images, labels, digits.train.images)
        return [Labelled(*pair) for pair in zip(captions, images, strict=True)]
    if path.suffix != ".npz":
        raise ConfigError(f"{path}: expected a .npz file with images and captions, or a folder with the idx files of MNIST")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ("images", "captions")}
    except KeyError as error:
        raise DataError(f"{path}: expected arrays 'images' and 'captions': {error.args[0]}") from None
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(f"{path}: could not be read: {getattr(error, 'strerror', None) or error}") from None
    images, captions = found["images"], found["captions"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(f"{path}: images: expected uint8 [N, H, W] or [N, H, W, C], got {images.dtype} {list(images.shape)}")
    if captions.dtype.kind != "U" or captions.shape != images.shape[:1]:
        raise DataError(
            f"{path}: captions: expected a text for each of {len(images)} images, got {captions.dtype} {list(captions.shape)}"
        )
    return [Labelled(str(caption), image) for caption, image in zip(captions, images, strict=True)]
