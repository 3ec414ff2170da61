"""What attention keeps of the tokens so far: pages of keys and values that hypotheses share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor
from ..autograd.attention_heads import Chosen, Options, attend_arrays, copy_pages, write_pages
from ..autograd.buffers import empty
from ..autograd.transformer import Places
from ..errors import ConfigError

#: Keys of a page, as the kernel has it.
PAGE = 16


class KeyValueCache:
    """Keys and values of every layer of a decoder, for rows with prefixes of different length.

    A row is a list of pages of 16 positions; the pages of all layers have one numbering. `select` lets rows share the pages of their
    parents, and a shared page is copied only when a row writes to it, so beam search copies at most one page a row and step however long
    the prefix is. The kernel reads pages where they lie; a cached step gives the bits of the whole pass.

    `lengths` [B]: positions that each row has; pages for `room` positions are made at once. A step is `reserve(n)`, one `write` and
    `attend` a layer, `advance(n)`.
    """

    def __init__(self, layers: int, batch: int, heads: int, width: int, dtype: Any = np.float32, room: int = 0) -> None:
        self.heads, self.width, self.dtype = heads, width, np.dtype(dtype)
        self.lengths = np.zeros(batch, np.int64)
        self.table = np.zeros((batch, 0), np.int64)
        #: How many positions a row has with those that were reserved.
        self._ends = self.lengths
        #: Whether a row may go on in a page that another row sees too.
        self._shared = False
        #: How many rows a page belongs to.
        self._users = np.zeros(0, np.int64)
        self._padded = -(-width // 16) * 16
        self._first = batch * -(-room // PAGE)
        self._keys = [np.zeros((0, heads, width, PAGE), dtype) for _ in range(layers)]
        self._values = [np.zeros((0, heads, PAGE, self._padded), dtype) for _ in range(layers)]

    def _take(self, count: int) -> np.ndarray:
        free = np.flatnonzero(self._users == 0)
        if len(free) < count:
            more = max(count - len(free), len(self._users) or self._first, 4)
            for pools in (self._keys, self._values):
                for i, pool in enumerate(pools):
                    pools[i] = empty((len(pool) + more, *pool.shape[1:]), self.dtype)
                    pools[i][: len(pool)] = pool
                    if pools is self._keys:
                        # Keys that nobody wrote are read, and dropped, with those beside them: subnormal numbers would cost time.
                        pools[i][len(pool) :] = 0
            self._users = np.concatenate([self._users, np.zeros(more, np.int64)])
            free = np.flatnonzero(self._users == 0)
        self._users[free[:count]] = 1
        return free[:count]

    def reserve(self, steps: int) -> None:
        """Makes room for `steps` more positions of every row, in pages that no other row sees."""
        if not len(self.lengths):
            return
        self._ends = self.lengths + steps
        first, last = self.lengths // PAGE, (self._ends - 1) // PAGE
        if last.max() >= self.table.shape[1]:
            wider = np.zeros((len(self.table), last.max() + 1), np.int64)
            wider[:, : self.table.shape[1]] = self.table
            self.table = wider
        begun = self.lengths > first * PAGE
        if self._shared:
            self._part(np.flatnonzero(begun), first)
        fresh = first + begun
        if (fresh <= last).any():
            columns = np.arange(self.table.shape[1])
            added = (columns >= fresh[:, None]) & (columns <= last[:, None])
            self.table[added] = self._take(int(np.count_nonzero(added)))

    def _part(self, begun: np.ndarray, first: np.ndarray) -> None:
        """Gives rows that go on in a page of several copies of it."""
        self._shared = False
        shared = self._sharing(begun, first)
        if not len(shared):
            return
        old = self.table[shared, first[shared]]
        self._users -= np.bincount(old, minlength=len(self._users))
        new = self._take(len(shared))
        used = self.lengths[shared] % PAGE
        for keys, values in zip(self._keys, self._values, strict=True):
            copy_pages(keys, values, old, new, used)
        self.table[shared, first[shared]] = new

    def _sharing(self, rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Which of `rows` must leave the page that they go on in, because another row sees it too."""
        old = self.table[rows, first[rows]]
        users = self._users[old]
        if users.max(initial=0) <= 1:
            return rows[:0]
        # Of the rows that share a page one may keep it, if no row is left behind in it.
        keeper = np.zeros(len(old), bool)
        keeper[np.unique(old, return_index=True)[1]] = True
        return rows[(users > 1) & ~(keeper & (np.bincount(old, minlength=len(self._users))[old] == users))]

    def write(self, layer: int, keys: np.ndarray, values: np.ndarray) -> None:
        """The keys and values [B, T, heads, width] of the positions that were reserved."""
        at = self.lengths[:, None] + np.arange(keys.shape[1])
        pages = self.table[np.arange(len(at))[:, None], at // PAGE]
        write_pages(self._keys[layer], self._values[layer], pages, at % PAGE, keys, values)

    def attend(self, layer: int, query: np.ndarray, scale: float, window: int | None = None) -> np.ndarray:
        """Contexts [B, T, heads · width] of queries [B, T, heads, width] just written: each sees its prefix and itself."""
        options = Options(scale, True, window, self._ends, starts=self.lengths)
        keys = self._keys[layer].transpose(0, 3, 1, 2)
        values = self._values[layer].transpose(0, 2, 1, 3)[..., : self.width]
        return attend_arrays(query, keys, values, options, None, np.ascontiguousarray(self.table))[0]

    @property
    def pools(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Keys [pages, heads, D, 16] and values [pages, heads, 16, …] of each layer."""
        return list(zip(self._keys, self._values, strict=True))

    @property
    def places(self) -> Places:
        """Where the rows stand, with the position that was reserved."""
        return Places(np.ascontiguousarray(self.table), self._ends)

    def advance(self, steps: int | np.ndarray) -> None:
        """The positions written are kept: as many for every row, or [B]."""
        self.lengths = self.lengths + steps

    def select(self, rows: np.ndarray) -> KeyValueCache:
        """A cache of the given rows, also more than once; it takes the place of this one, which may not be used any more."""
        chosen = KeyValueCache.__new__(KeyValueCache)
        vars(chosen).update(vars(self))
        chosen.lengths, chosen.table = self.lengths[rows], self.table[rows]
        used = -(-chosen.lengths // PAGE)
        chosen.table = chosen.table[:, : used.max(initial=0)]
        alive = chosen.table[np.arange(chosen.table.shape[1]) < used[:, None]]
        chosen._users = np.bincount(alive, minlength=len(self._users)).astype(np.int64)
        chosen._shared = bool(chosen._users.max(initial=0) > 1)
        return chosen

    @property
    def nbytes(self) -> int:
        """Bytes of all pages."""
        return sum(pool.nbytes for pools in (self._keys, self._values) for pool in pools)


class Memory:
    """Keys and values of what a decoder looks at, computed once for all steps: one row a source, whatever looks at it.

    Keys are kept turned over, so that few queries read them where they lie; what a head reads lies side by side.
    """

    def __init__(self, keys: np.ndarray, values: np.ndarray, lengths: np.ndarray) -> None:
        batch, sources, heads, width = keys.shape
        padded = -(-sources // 16) * 16
        self.lengths = np.ascontiguousarray(lengths, np.int64)
        self.sources = sources
        self._keys = np.zeros((batch, heads, width, padded), keys.dtype)
        self._keys[..., :sources] = keys.transpose(0, 2, 3, 1)
        self._values = np.zeros((batch, heads, padded, width), keys.dtype)
        self._values[:, :, :sources] = values.transpose(0, 2, 1, 3)

    @property
    def views(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values [B, S, heads, width], S with what fills it up."""
        return self._keys.transpose(0, 3, 1, 2), self._values.transpose(0, 2, 1, 3)

    def attend(self, query: np.ndarray, scale: float, weights: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Contexts [B, T, heads · width] of queries [B, T, heads, width], and the mean of the heads' weights [B, T, S]."""
        chosen = Chosen(range(query.shape[2]), range(query.shape[1]), True) if weights else None
        options = Options(scale, lengths=self.lengths)
        context, found = attend_arrays(query, *self.views, options, chosen)
        return context, None if found is None else found[..., : self.sources]

    def select(self, rows: np.ndarray) -> Memory:
        """The given sources."""
        chosen = Memory.__new__(Memory)
        vars(chosen).update(vars(self))
        chosen.lengths, chosen._keys, chosen._values = self.lengths[rows], self._keys[rows], self._values[rows]
        return chosen


class Cached(NamedTuple):
    """Hands a layer its part of a cache."""

    cache: KeyValueCache
    layer: int
    #: For layers that look at a source: its memory, and which of its rows each row of the cache looks at.
    memory: Memory | None = None
    rows: np.ndarray | None = None
    #: Where weights of the source are left, where asked for.
    weights: list[np.ndarray] | None = None
    window: int | None = None


def split_heads(x: Tensor, heads: int, parts: int) -> list[np.ndarray]:
    """Views [B, T, heads, width] of a projection [B, T, parts · heads · width]."""
    array = x._array
    whole = array.reshape((*array.shape[:2], parts, heads, -1))
    return [whole[:, :, i] for i in range(parts)]


def gathered(query: np.ndarray, rows: np.ndarray, sources: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries [R, 1, heads, width] of rows that look at sources, as [sources, most, heads, width], and each row's place."""
    counts = np.bincount(rows, minlength=sources)
    if (np.diff(rows) < 0).any():
        raise ConfigError("[cache] rows: expected the rows of a source side by side, in order")
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    wide = np.zeros((sources, counts.max(initial=0), *query.shape[2:]), query.dtype)
    wide[rows, place] = query[:, 0]
    return wide, place
