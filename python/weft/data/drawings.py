"""Small pictures with captions: shapes that the package draws itself."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

COLORS = {
    "red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (235, 205, 40), "purple": (140, 60, 180),
    "orange": (240, 130, 30), "cyan": (50, 190, 210), "white": (235, 235, 235),
}  # fmt: skip
FORMS = ("circle", "square", "triangle", "cross")
FILLS = ("filled", "hollow")
SIZES = {"small": 4.0, "middle": 6.0, "large": 8.0}
#: Centres on a grid of 8 pixels: wherever a shape is, it lies on patches of 4 or 8 pixels in the same way, so that a tokenizer meets few
#: patches often (1,409 of 8 × 8) instead of many rarely (15,046 with centres 5 pixels apart), and codes say what captions say.
PLACES = {
    f"{row} {column}".replace("middle centre", "centre"): (y, x)
    for row, y in (("top", 7.5), ("middle", 15.5), ("bottom", 23.5))
    for column, x in (("left", 7.5), ("centre", 15.5), ("right", 23.5))
}
TURNS = ("upright", "rotated")


class Drawing(NamedTuple):
    """A caption, its image uint8 [32, 32, 3], and what it shows: (size, fill, color, turn, form, place)."""

    caption: str
    image: np.ndarray
    attributes: tuple[str, ...]


def draw(size: str, fill: str, color: str, turn: str, form: str, place: str) -> np.ndarray:
    """One shape on black, uint8 [32, 32, 3].

    >>> weft.data.draw("small", "filled", "red", "upright", "circle", "centre")[16, 16].tolist()
    [220, 40, 40]
    """
    y, x = np.mgrid[:32, :32].astype(np.float64)
    row, column = PLACES[place]
    r = SIZES[size]
    y, x = y - row, x - column
    if turn == "rotated":
        # A half of the angle after which a square looks the same; a triangle stands on its tip.
        y, x = (-y, x) if form == "triangle" else ((y + x) * 0.5**0.5, (y - x) * 0.5**0.5)
    distance = {
        "circle": np.hypot(x, y) - r,
        "square": np.maximum(np.abs(x), np.abs(y)) - 0.7 * r,
        "triangle": np.maximum(np.abs(x) * 0.88 - (y + r) * 0.47, y - 0.8 * r),
        "cross": np.minimum(np.maximum(np.abs(x) - r, np.abs(y) - 0.4 * r), np.maximum(np.abs(x) - 0.4 * r, np.abs(y) - r)),
    }[form]
    ink = np.clip(0.5 - distance, 0.0, 1.0)
    if fill == "hollow":
        ink = ink - np.clip(0.5 - (distance + 1.5), 0.0, 1.0)
    return np.rint(ink[:, :, None] * np.array(COLORS[color], np.float64)).astype(np.uint8)


def drawings() -> list[Drawing]:
    """Every combination of 3 sizes, 2 fills, 8 colors, 2 turns of 3 forms, a circle that has no turns, and 9 places: 3,024 pictures with
    captions such as "small hollow red rotated square top left"."""
    every = itertools.product(SIZES, FILLS, COLORS, TURNS, FORMS, PLACES)
    return [Drawing(" ".join(a), draw(*a), a) for a in every if a[3:5] != ("rotated", "circle")]
