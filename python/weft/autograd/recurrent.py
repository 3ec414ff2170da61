"""One direction of a recurrent layer, or two, as one operation on the tape."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import is_
from typing import Any

import numpy as np

from .. import _native
from . import tape
from .buffers import contiguous, empty
from .matmul import packed
from .tensor import Tensor, record_many, wants, wrap

#: weight_ih, weight_hh, bias_ih, bias_hh of a direction.
Direction = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


def pack_recurrent(cell: str, direction: Direction, backward: bool) -> Any:
    """The weights of a direction as the kernels read them, made again only after a change."""
    w_ih, w_hh, b_ih, b_hh = direction

    def make() -> Any:
        biases = [None if b is None else b._array for b in (b_ih, b_hh)]
        return _native.RecurrentWeights(cell, w_ih._array, w_hh._array, biases[0], biases[1], backward)

    return packed(w_hh, (cell, backward), (w_ih, b_ih, b_hh), make)


def recurrent(
    cell: str,
    x: Tensor,
    directions: Sequence[Direction],
    h_0: Sequence[Tensor | None],
    c_0: Sequence[Tensor | None],
    lengths: np.ndarray | None,
    batch_first: bool,
    reverse: Sequence[bool],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """A layer: x [T, B, I] (or [B, T, I]) through one or two directions.

    Returns the output [T, B, directions · H], and for each direction the last h [B, H] and (LSTM) the last c.
    """
    array = contiguous(x._array)
    batch = array.shape[0 if batch_first else 1]
    hidden = directions[0][1].shape[1]
    with_c = cell == "lstm"
    count = len(directions)
    parents: list[Tensor | None] = [x]
    for direction, h, c in zip(directions, h_0, c_0, strict=True):
        parents += [*direction, h, c]
    training = wants(*parents)
    output = empty((*array.shape[:2], count * hidden), array.dtype)
    weights: list[Any] = []
    caches: list[Any] = []
    h_n, c_n = [], []
    for i, (direction, h, c) in enumerate(zip(directions, h_0, c_0, strict=True)):
        weights.append(pack_recurrent(cell, direction, training))
        h_first, c_first = (None if s is None else contiguous(s._array) for s in (h, c))
        h_last, c_last, cache = _native.recurrent_forward(
            weights[-1], array, batch_first, lengths, reverse[i], h_first, c_first, output, i * hidden, training
        )
        caches.append(cache)
        h_n.append(h_last)
        c_n.append(c_last)
    if not training:
        return wrap(output), [wrap(a) for a in h_n], [wrap(a) for a in c_n] if with_c else []
    needs_x = x.requires_grad
    needs_weights = any(w is not None and w.requires_grad for d in directions for w in d)
    with_bias = directions[0][2] is not None
    needs_state = [(h is not None, c is not None) for h, c in zip(h_0, c_0, strict=True)]

    def rule(dy: np.ndarray | None, *last: np.ndarray | None) -> list[np.ndarray | None]:
        dy = None if dy is None else contiguous(dy)
        dx: np.ndarray | None = None
        retain = tape.is_retaining()
        rest: list[np.ndarray | None] = []
        for i in range(count):
            dh, dc = last[i], last[count + i] if with_c else None
            dh, dc = (None if d is None else contiguous(d) for d in (dh, dc))
            one, dh_0, dc_0, *parameters = _native.recurrent_backward(
                weights[i], caches[i], array, output, dy, i * hidden, dh, dc, batch, with_bias, needs_x, needs_weights, dx, retain,
            )  # fmt: skip
            if not retain:
                caches[i] = None  # its memory is the next direction's
            if needs_x and dx is None:
                dx = one
            rest += parameters if needs_weights else [None] * 4
            if not with_bias:
                rest[-2:] = [None, None]
            rest += [dh_0 if needs_state[i][0] else None, dc_0 if needs_state[i][1] else None]
        return [dx, *rest]

    outputs = [output, *h_n, *(c_n if with_c else [])]
    results = record_many(cell, outputs, parents, rule)
    return results[0], results[1 : 1 + count], results[1 + count :]


class Ready:
    """The packed weights of a layer's parameters, as long as none of them is replaced or changed."""

    __slots__ = ("_generations", "_parameters", "_weights")

    def __init__(self) -> None:
        self._parameters: list[Tensor | None] = []
        self._generations: list[tuple[Tensor, int]] = []
        self._weights: list[Any] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Ready:
        return Ready()

    def find(self, parameters: Collection[Tensor | None]) -> list[Any] | None:
        """What was kept of these parameters; None after a change, or while an array may change them unseen."""
        if len(parameters) != len(self._parameters) or not all(map(is_, parameters, self._parameters)):
            return None
        for p, generation in self._generations:
            if p.generation != generation or not p._may_cache():
                return None
        return self._weights

    def keep(self, parameters: Collection[Tensor | None], weights: list[Any]) -> list[Any]:
        """The weights, kept for `find` unless an array may change the parameters unseen."""
        known = [(p, p.generation) for p in parameters if p is not None]
        if all(p._may_cache() for p, _ in known):
            self._parameters, self._generations, self._weights = list(parameters), known, weights
        return weights


def infer(
    weights: list[Any], x: Tensor, h_0: Tensor | None, c_0: Tensor | None, batch_first: bool, reverse: bool, with_c: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Layers of one direction on top of each other without a tape, the short way: x [T, B, I] and states [layers, B, H] as they are.

    Returns the output [T, B, H], h_n and (LSTM) c_n [layers, B, H]; the bits are those of `recurrent`.
    """
    h = None if h_0 is None else contiguous(h_0._array)
    c = None if c_0 is None else contiguous(c_0._array)
    y, h_n, c_n = _native.recurrent_infer(weights, contiguous(x._array), batch_first, reverse, h, c)
    return wrap(y), wrap(h_n), wrap(c_n) if with_c else None


class Step:
    """One layer, one step, on arrays that are used again: x [B, I] → h [B, H], the state kept in `h` and `c`."""

    def __init__(self, cell: str, direction: Direction, batch: int, dtype: Any) -> None:
        hidden = direction[1].shape[1]
        self._weights = pack_recurrent(cell, direction, False)
        self.h, self.c = (np.zeros((batch, hidden), dtype) for _ in range(2))
        self._step = _native.recurrent_step

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The next h: this step's own array."""
        self._step(self._weights, contiguous(x), self.h, self.c)
        return self.h
