"""A recurrent layer with options, as one operation on the tape; what the options are: `weft.nn.LSTM`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _native
from . import tape
from .buffers import contiguous, empty
from .matmul import packed
from .tensor import Tensor, record_many, wants

#: weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, peephole, norm_ih, norm_hh, norm_c; None for what the cell lacks.
Parameters = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Kind:
    """Which cell: its name, whether i = 1 − f, whether the reset comes before the product, H and the width of h."""

    cell: str
    coupled: bool
    reset_before: bool
    hidden: int
    state: int

    @property
    def shown(self) -> dict[str, int]:
        """Which slot of the gates buffer holds which gate."""
        if self.cell == "lstm":
            return {name: i for i, name in enumerate("fgo" if self.coupled else "ifgo")}
        return {"r": 0, "z": 1, "n": 2} if self.cell == "gru" else {}


@dataclass(frozen=True)
class Noise:
    """What is random in one direction: the mask of h [B, P], zoneout of h and c, and from which numbers (None outside of training)."""

    mask: np.ndarray | None = None
    zoneout: tuple[float, float] = (0.0, 0.0)
    streams: tuple[tuple[int, int], tuple[int, int], int] | None = None


def _pack(kind: Kind, parameters: Parameters, backward: bool) -> Any:
    owner, *others = parameters
    assert owner is not None

    def make() -> Any:
        arrays = [None if p is None else contiguous(p._array) for p in parameters]
        return _native.OptionalWeights(kind.cell, kind.coupled, kind.reset_before, kind.hidden, arrays, backward)

    return packed(owner, (kind, backward), tuple(others), make)


def recurrent_with_options(
    kind: Kind,
    x: Tensor,
    directions: Sequence[Parameters],
    h_0: Sequence[Tensor | None],
    c_0: Sequence[Tensor | None],
    lengths: np.ndarray | None,
    batch_first: bool,
    reverse: Sequence[bool],
    noise: Sequence[Noise],
    show: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[dict[str, np.ndarray]]]:
    """A layer: x [T, B, I] (or [B, T, I]) through one or two directions.

    Returns the output [T, B, directions · P], for each direction the last h [B, P] and (LSTM) the last c [B, H], and with `show` for
    each direction its gates and c by name, [T, B, H] or [B, T, H].
    """
    array = contiguous(x._array)
    batch = array.shape[0 if batch_first else 1]
    with_c, count, state = kind.cell == "lstm", len(directions), kind.state
    parents: list[Tensor | None] = [x]
    for parameters, h, c in zip(directions, h_0, c_0, strict=True):
        parents += [*parameters, h, c]
    training = wants(*parents)
    output = empty((*array.shape[:2], count * state), array.dtype)
    weights, h_n, c_n, shown = [], [], [], []
    caches: list[Any] = []
    for i, (parameters, h, c) in enumerate(zip(directions, h_0, c_0, strict=True)):
        weights.append(_pack(kind, parameters, training))
        h_first, c_first = (None if s is None else contiguous(s._array) for s in (h, c))
        h_last, c_last, cache = _native.optional_forward(
            weights[-1], array, batch_first, lengths, reverse[i], h_first, c_first,
            noise[i].mask, noise[i].zoneout, noise[i].streams, output, i * state,
        )  # fmt: skip
        caches.append(cache)
        h_n.append(h_last)
        c_n.append(c_last)
        if show:
            slots: dict[str, int | None] = {**kind.shown, **({"c": None} if with_c else {})}
            gates = {name: empty((*array.shape[:2], kind.hidden), array.dtype) for name in slots}
            for name, slot in slots.items():
                cache.show(slot, gates[name])
            shown.append(gates)
    needs_x = x.requires_grad
    needs = [any(p is not None and p.requires_grad for p in parameters) for parameters in directions]
    shapes = [
        [(0,) if p is None or not wanted else p.shape for p in parameters]
        for parameters, wanted in zip(directions, needs, strict=True)
    ]
    with_state = [(h is not None, c is not None) for h, c in zip(h_0, c_0, strict=True)]

    def rule(dy: np.ndarray | None, *last: np.ndarray | None) -> list[np.ndarray | None]:
        dy = None if dy is None else contiguous(dy)
        dx: np.ndarray | None = None
        retain = tape.is_retaining()
        rest: list[np.ndarray | None] = []
        for i in range(count):
            dh, dc = last[i], last[count + i] if with_c else None
            dh, dc = (None if d is None else contiguous(d) for d in (dh, dc))
            one, dh_0, dc_0, *gradients = _native.optional_backward(
                weights[i], caches[i], array, output, dy, i * state, dh, dc, batch, shapes[i], needs_x, dx, retain
            )
            if not retain:
                caches[i] = None  # its memory is the next direction's
            if needs_x and dx is None:
                dx = one
            rest += [None if p is None or not needs[i] else g for p, g in zip(directions[i], gradients, strict=True)]
            rest += [dh_0 if with_state[i][0] else None, dc_0 if with_state[i][1] else None]
        return [dx, *rest]

    results = record_many(kind.cell, [output, *h_n, *(c_n if with_c else [])], parents, rule)
    return results[0], results[1 : 1 + count], results[1 + count :], shown
