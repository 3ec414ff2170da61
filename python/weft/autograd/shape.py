"""Views and rearrangements: no arithmetic, so all of it is NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, ShapeError, range_error, shape_error
from .axes import one_axis
from .tensor import Tensor, _plain_index, as_tensor, record, record_many, record_view


def clone(a: Tensor) -> Tensor:
    """A copy; gradients flow through."""
    return record("clone", a._array.copy(), (a,), lambda g: (g,))


def reshape(a: Tensor, shape: Sequence[int]) -> Tensor:
    """The same elements in C order with other axes; one size may be −1."""
    before = a.shape
    try:
        array = a._array.reshape(shape)
    except ValueError:
        raise ShapeError(f"[reshape] expected {a._array.size} elements, got shape {list(shape)} for {list(before)}") from None
    return record_view("reshape", array, a, lambda g: (g.reshape(before),))


def permute(a: Tensor, axes: Sequence[int]) -> Tensor:
    """Axes in another order."""
    if len(axes) != a.ndim or sorted(one_axis("permute", i, a.ndim) for i in axes) != list(range(a.ndim)):
        raise range_error("permute", "dims", f"an order of the {a.ndim} axes", tuple(axes))
    inverse = np.argsort([i % a.ndim for i in axes])
    return record_view("permute", a._array.transpose(axes), a, lambda g: (g.transpose(inverse),))


def transpose(a: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes changed over."""
    one, other = one_axis("transpose", dim0, a.ndim), one_axis("transpose", dim1, a.ndim)
    if not a.ndim:
        return clone(a)
    return record_view("transpose", a._array.swapaxes(one, other), a, lambda g: (g.swapaxes(one, other),))


def expand(a: Tensor, shape: Sequence[int]) -> Tensor:
    """Axes of size 1 repeated, without a copy; −1 keeps a size."""
    from .reduction import sum_to

    grown = len(shape) - a.ndim
    target = [a.shape[i - grown] if n == -1 and i >= grown else n for i, n in enumerate(shape)]
    before = a.shape
    return record_view("expand", np.broadcast_to(a._array, target), a, lambda g: (sum_to(g, before),))


def index(a: Tensor, key: Any) -> Tensor:
    """NumPy's indexing: slices, integers, None, Ellipsis, integer and bool arrays."""
    return index_by(a, _plain_index(key), "index")


def index_by(a: Tensor, plain: Any, name: str) -> Tensor:
    """`index` by a key of NumPy's own."""
    shape, dtype = a.shape, a.dtype
    parts = plain if isinstance(plain, tuple) else (plain,)
    simple = all(isinstance(p, (int, slice, type(None), type(Ellipsis), np.integer)) for p in parts)

    def rule(g: np.ndarray) -> tuple[np.ndarray]:
        dx = np.zeros(shape, dtype)
        if simple:
            dx[plain] = g
        else:
            # Positions may come more than once; they are added in the order of the index.
            np.add.at(dx, plain, g)
        return (dx,)

    return record_view(name, a._array[plain], a, rule) if simple else record(name, a._array[plain], (a,), rule)


def gather(a: Tensor, dim: int, index: Any) -> Tensor:
    """a at the places `index` along an axis; the other axes of `index` run along with a's, and may be shorter."""
    axis = one_axis("gather", dim, a.ndim)
    places = np.asarray(as_tensor(index)._array)
    if places.dtype.kind not in "iu":
        raise DtypeError(f"[gather] index: expected whole numbers, got {places.dtype}")
    if places.ndim != a.ndim or any(p > n for i, (p, n) in enumerate(zip(places.shape, a.shape, strict=True)) if i != axis):
        raise shape_error("gather", "index", f"{a.ndim} dimensions, none but {axis} longer than {list(a.shape)}", places.shape)
    if not a.ndim:
        return clone(a)
    bound = a.shape[axis]
    if places.size and not 0 <= places.min() <= places.max() < bound:
        raise IndexError(f"[gather] index: expected places in 0..{bound}, got {places.min()} to {places.max()}")
    key = [n.reshape([-1 if i == d else 1 for i in range(a.ndim)]) for d, n in enumerate(map(np.arange, places.shape))]
    return index_by(a, (*key[:axis], places, *key[axis + 1 :]), "gather")


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joined along an existing axis."""
    parts = [as_tensor(t) for t in tensors]
    if not parts:
        raise ShapeError("[cat] expected at least one tensor, got none")
    dim = one_axis("cat", dim, parts[0].ndim)
    try:
        joined = np.concatenate([t._array for t in parts], axis=dim)
    except ValueError:
        raise ShapeError(f"[cat] expected equal shapes but for axis {dim}, got {[list(t.shape) for t in parts]}") from None
    bounds = np.cumsum([t.shape[dim] for t in parts])[:-1]
    return record("cat", joined, parts, lambda g: tuple(np.split(g, bounds, axis=dim)))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joined along a new axis."""
    parts = [as_tensor(t) for t in tensors]
    if len({t.shape for t in parts}) != 1:
        raise ShapeError(f"[stack] expected equal shapes, got {[list(t.shape) for t in parts]}")
    dim = one_axis("stack", dim, parts[0].ndim + 1)
    array = np.stack([t._array for t in parts], axis=dim)

    def rule(g: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.moveaxis(g, dim, 0))

    return record("stack", array, parts, rule)


def split(a: Tensor, sizes: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis: into pieces of one size (the last may be smaller), or of given sizes."""
    dim = one_axis("split", dim, a.ndim)
    if not a.ndim:
        raise ShapeError("[split] expected a tensor with axes, got a single number")
    n = a.shape[dim]
    if isinstance(sizes, int):
        if sizes < 1:
            raise range_error("split", "split_size", "a whole number of at least 1", sizes)
        sizes = [min(sizes, n - i) for i in range(0, n, sizes)] or [0]
    if int(np.sum(sizes)) != n:
        raise ShapeError(f"[split] expected sizes that add up to {n}, got {list(sizes)}")
    arrays = np.split(a._array, np.cumsum(sizes)[:-1], axis=dim)
    shapes = [x.shape for x in arrays]
    dtype = a.dtype

    def rule(*gs: np.ndarray | None) -> tuple[np.ndarray]:
        filled = [np.zeros(s, dtype) if g is None else g for g, s in zip(gs, shapes, strict=True)]
        return (np.concatenate(filled, axis=dim),)

    pieces = tuple(record_many("split", arrays, (a,), rule))
    for piece in pieces:
        piece._storage = a._shared()
    return pieces


def unbind(a: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it."""
    axis = one_axis("unbind", dim, a.ndim)
    if not a.ndim:
        raise ShapeError("[unbind] expected a tensor with axes, got a single number")
    return tuple(index(a, (slice(None),) * axis + (i,)) for i in range(a.shape[axis]))


def chunk(a: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut into at most `chunks` equal pieces."""
    if chunks < 1:
        raise range_error("chunk", "chunks", "a whole number of at least 1", chunks)
    axis = one_axis("chunk", dim, a.ndim)
    return split(a, max(1, -(-a.shape[axis] // chunks)) if a.ndim else 1, axis)
