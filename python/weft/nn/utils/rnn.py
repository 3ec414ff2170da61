"""Sequences of uneven length as `torch.nn.utils.rnn` has them. The shorter way: `layer(x, lengths=…)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...autograd import Tensor, as_tensor
from ...autograd.packing import pick_rows, place_rows
from ...errors import DtypeError, ShapeError, choice_error, shape_error

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence",
    "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence(NamedTuple):
    """The real steps of a batch, one time step after the other, the longest sequence first; made by `pack_padded_sequence`.

    `data` [steps of all rows, …], `batch_sizes` [T]: rows that live at each step; `sorted_indices` [B]: which row of the batch stands at
    each place, or None where they stood sorted already; `unsorted_indices`: the other way round.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each row of a permutation [B] went."""
    return None if permutation is None else Tensor(np.argsort(as_tensor(permutation)._array))


def _lengths(who: str, lengths: Any, batch: int, most: int) -> np.ndarray:
    array = as_tensor(lengths)._array
    if array.dtype.kind not in "iu":
        raise DtypeError(f"[{who}] lengths: expected whole numbers, got {array.dtype}")
    if array.shape != (batch,):
        raise shape_error(who, "lengths", f"shape [{batch}]", array.shape)
    if batch and (array.min() < 1 or array.max() > most):
        raise ShapeError(f"[{who}] lengths: expected 1 to {most}, got {array.tolist()}")
    return array.astype(np.int64)


def _rows(lengths: np.ndarray, order: np.ndarray, batch_first: bool, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """For each packed row its row among all steps · rows of the padded array; and the batch sizes."""
    longest = int(lengths.max(initial=0))
    sizes = (lengths[order][None, :] > np.arange(longest)[:, None]).sum(1)
    time = np.repeat(np.arange(longest), sizes)
    place = np.arange(len(time)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    b = order[place]
    return (b * steps + time if batch_first else time * len(lengths) + b), sizes


def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """Packs input [T, B, …] ([B, T, …] if `batch_first`); `lengths` [B] of 1 to T, falling if `enforce_sorted`.

    >>> packed = weft.nn.utils.rnn.pack_padded_sequence(np.ones((3, 2, 1), np.float32), [3, 1])
    >>> packed.batch_sizes.tolist()
    [2, 1, 1]
    """
    who = "pack_padded_sequence"
    x = as_tensor(input)
    if x.ndim < 2:
        raise shape_error(who, "input", "at least 2 dimensions", x.shape)
    batch, steps = (x.shape[0], x.shape[1]) if batch_first else (x.shape[1], x.shape[0])
    sizes = _lengths(who, lengths, batch, steps)
    if batch == 0:
        raise shape_error(who, "input", "at least one sequence", x.shape)
    order = np.argsort(-sizes, kind="stable")
    if enforce_sorted and not (sizes[:-1] >= sizes[1:]).all():
        raise ShapeError(f"[{who}] lengths: expected falling lengths, or enforce_sorted=False, got {sizes.tolist()}")
    rows, batch_sizes = _rows(sizes, order, batch_first, steps)
    data = pick_rows(x.reshape(batch * steps, *x.shape[2:]), rows)
    if enforce_sorted:
        return PackedSequence(data, Tensor(batch_sizes))
    return PackedSequence(data, Tensor(batch_sizes), Tensor(order), Tensor(np.argsort(order)))


def _padded(packed: PackedSequence, batch_first: bool, fill: float, steps: int | None) -> tuple[Tensor, np.ndarray]:
    sizes = packed.batch_sizes._array
    sorted_lengths = (sizes[:, None] > np.arange(sizes[0])[None, :]).sum(0)
    order = np.arange(len(sorted_lengths)) if packed.sorted_indices is None else packed.sorted_indices._array
    lengths = np.empty_like(sorted_lengths)
    lengths[order] = sorted_lengths
    if steps is None:
        steps = len(sizes)
    elif steps < len(sizes):
        raise ShapeError(f"[pad_packed_sequence] total_length: expected at least {len(sizes)}, got {steps}")
    rows, _ = _rows(lengths, order, batch_first, steps)
    batch, rest = len(lengths), packed.data.shape[1:]
    flat = place_rows(packed.data, rows, batch * steps, fill)
    return flat.reshape(*((batch, steps) if batch_first else (steps, batch)), *rest), lengths


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The padded batch [T, B, …] in its own order, and the lengths [B]; T is the longest length, or `total_length`."""
    padded, lengths = _padded(sequence, batch_first, padding_value, total_length)
    return padded, Tensor(lengths)


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences [T_b, …] of uneven length as one array [T, B, …] ([B, T, …] if `batch_first`)."""
    if padding_side not in ("right", "left"):
        raise choice_error("pad_sequence", "padding_side", ("right", "left"), padding_side)
    parts = [as_tensor(s) for s in sequences]
    if not parts:
        raise ShapeError("[pad_sequence] expected at least one sequence, got none")
    if any(p.ndim == 0 or p.shape[1:] != parts[0].shape[1:] for p in parts):
        raise ShapeError(f"[pad_sequence] expected sequences that differ in length only, got {[list(p.shape) for p in parts]}")
    from ...autograd import cat

    lengths = np.array([p.shape[0] for p in parts])
    steps, batch = int(lengths.max()), len(parts)
    shift = steps - lengths if padding_side == "left" else np.zeros_like(lengths)
    starts = np.cumsum(lengths) - lengths
    time = np.arange(int(lengths.sum())) - np.repeat(starts - shift, lengths)
    b = np.repeat(np.arange(batch), lengths)
    rows = b * steps + time if batch_first else time * batch + b
    flat = place_rows(cat(parts), rows, batch * steps, padding_value)
    return flat.reshape(*((batch, steps) if batch_first else (steps, batch)), *parts[0].shape[1:])


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The other way: a list of sequences [T_b, …]."""
    x = as_tensor(padded_sequences)
    sizes = as_tensor(lengths).tolist()
    return [x[b, :n] if batch_first else x[:n, b] for b, n in enumerate(sizes)]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Packs a list of sequences [T_b, …]."""
    parts = [as_tensor(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(parts), [p.shape[0] for p in parts], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """A list of sequences from a packed one."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def unpacked(packed: PackedSequence, batch_first: bool) -> tuple[Tensor, np.ndarray]:
    """For layers: padded, with lengths, rows in the batch's own order."""
    return _padded(packed, batch_first, 0.0, None)


def packed_like(output: Tensor, packed: PackedSequence, batch_first: bool) -> PackedSequence:
    """For layers: an output of the padded shape in the packed order of its input."""
    sizes = packed.batch_sizes._array
    batch, steps = (output.shape[0], output.shape[1]) if batch_first else (output.shape[1], output.shape[0])
    order = np.arange(batch) if packed.sorted_indices is None else packed.sorted_indices._array
    lengths = np.empty(batch, np.int64)
    lengths[order] = (sizes[:, None] > np.arange(batch)[None, :]).sum(0)
    rows, _ = _rows(lengths, order, batch_first, steps)
    return packed._replace(data=pick_rows(output.reshape(batch * steps, output.shape[2]), rows))
