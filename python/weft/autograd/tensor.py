"""Tensor: an array, its gradient, and its place on the tape."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DtypeError, ShapeError, shape_error
from . import tape

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
#: Python's float, whose name is a method's within the class.
Number = float


def as_array(value: Any, dtype: Any = None) -> np.ndarray:
    """Any array-like as an array. Python floats become float32, Python integers int64; arrays keep their dtype."""
    if isinstance(value, Tensor):
        array = value._array
    elif isinstance(value, np.ndarray):
        array = value
    elif hasattr(value, "__array__") or not hasattr(value, "__dlpack__"):
        array = np.asarray(value)
        if array.dtype == np.float64 and not hasattr(value, "dtype"):
            array = array.astype(np.float32)
    else:
        array = np.from_dlpack(value)
    if array.dtype == object:
        raise DtypeError("[tensor] data: expected numbers, got Python objects (rows of uneven length?)")
    return array if dtype is None else array.astype(dtype, copy=False)


class _Token:
    """Alive as long as an array outside may write a storage."""

    __slots__ = ("__weakref__",)


class _WritableView:
    """Exports an array to NumPy; keeps the token as long as any array made from it lives."""

    __slots__ = ("__array_interface__", "array", "token")

    def __init__(self, array: np.ndarray, token: _Token) -> None:
        self.array, self.token = array, token
        self.__array_interface__ = array.__array_interface__


class Storage:
    """What all tensors of the same numbers share (`detach`, slices, other shapes): how often they changed, and who else may write them."""

    __slots__ = ("changes", "foreign", "generation", "token")

    def __init__(self, foreign: bool = False) -> None:
        #: Changes by the package's own doors, which the way back asks for.
        self.changes = 0
        #: Those, and every time that an array went out which may have been written, which packed forms ask for.
        self.generation = 0
        #: The array came from outside and may be written there at any time.
        self.foreign = foreign
        self.token: weakref.ref[_Token] | None = None


class Tensor:
    """An array that remembers how it was computed.

    Made by `weft.tensor(data)`, by layers and by operations. `np.asarray(t)` gives the numbers without a copy: read-only while the
    tensor takes part in recording (it requires gradients and recording is on), so that nothing changes under the tape.

    >>> x = weft.tensor([[1.0, 2.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([[2., 4.]], dtype=float32)
    """

    __slots__ = ("__weakref__", "_array", "_index", "_node", "_packed", "_storage", "grad", "requires_grad")
    __array_priority__ = 1000

    def __init__(self, data: Any, requires_grad: bool = False, *, dtype: Any = None) -> None:
        self._array = as_array(data, dtype)
        if requires_grad and self._array.dtype not in FLOATS:
            raise DtypeError(f"[tensor] requires_grad: only float32 and float64 have gradients, got {self._array.dtype}")
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self._node: tape.Node | None = None
        self._index = 0
        #: None until somebody asks, for most results are read and gone.
        self._storage: Storage | None = None
        if isinstance(data, Tensor):
            if self._array is data._array:
                self._storage = data._shared()
        elif self._array is data if isinstance(data, np.ndarray) else hasattr(data, "__array__") or hasattr(data, "__dlpack__"):
            self._storage = Storage(foreign=True)
        self._packed: dict[Any, Any] | None = None

    # Operators and methods of the rooms, set in operators.py; told here to type checkers.
    if TYPE_CHECKING:

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def reshape(self, *sizes: Any) -> Tensor: ...
        def view(self, *sizes: Any) -> Tensor: ...
        def permute(self, *axes: Any) -> Tensor: ...
        def expand(self, *sizes: Any) -> Tensor: ...
        def transpose(self, dim0: int, dim1: int) -> Tensor: ...
        def squeeze(self, dim: int | None = None) -> Tensor: ...
        def unsqueeze(self, dim: int) -> Tensor: ...
        def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor: ...
        def split(self, sizes: Any, dim: int = 0) -> tuple[Tensor, ...]: ...
        def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]: ...
        def sum(self, dim: Any = None, keepdim: bool = False) -> Tensor: ...
        def mean(self, dim: Any = None, keepdim: bool = False) -> Tensor: ...
        def max(self, dim: int | None = None, keepdim: bool = False) -> Any: ...
        def min(self, dim: int | None = None, keepdim: bool = False) -> Any: ...
        def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor: ...
        def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor: ...
        def var(self, dim: Any = None, keepdim: bool = False, *, correction: Any = 1.0) -> Tensor: ...
        def std(self, dim: Any = None, keepdim: bool = False, *, correction: Any = 1.0) -> Tensor: ...
        def cumsum(self, dim: int) -> Tensor: ...
        def logsumexp(self, dim: Any, keepdim: bool = False) -> Tensor: ...
        def any(self) -> Tensor: ...
        def all(self) -> Tensor: ...
        def clamp(self, min: Any = None, max: Any = None) -> Tensor: ...
        def gather(self, dim: int, index: Any) -> Tensor: ...
        def unbind(self, dim: int = 0) -> tuple[Tensor, ...]: ...
        def to(self, where: Any = None, dtype: Any = None) -> Tensor: ...
        def float(self) -> Tensor: ...
        def double(self) -> Tensor: ...
        def long(self) -> Tensor: ...
        def exp(self) -> Tensor: ...
        def log(self) -> Tensor: ...
        def erf(self) -> Tensor: ...
        def sqrt(self) -> Tensor: ...
        def abs(self) -> Tensor: ...
        def pow(self, exponent: Number) -> Tensor: ...
        def tanh(self) -> Tensor: ...
        def sigmoid(self) -> Tensor: ...
        def relu(self) -> Tensor: ...
        def softmax(self, dim: int = -1) -> Tensor: ...
        def log_softmax(self, dim: int = -1) -> Tensor: ...
        def maximum(self, other: Any) -> Tensor: ...
        def minimum(self, other: Any) -> Tensor: ...
        def masked_fill(self, mask: Any, value: Number) -> Tensor: ...
        def where(self, condition: Any, other: Any) -> Tensor: ...
        def matmul(self, other: Any) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    @property
    def dtype(self) -> np.dtype:
        """NumPy's dtype."""
        return self._array.dtype

    @property
    def is_leaf(self) -> bool:
        """Made by the user, not by a recorded operation."""
        return self._node is None

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    def numel(self) -> int:
        """Number of elements."""
        return self._array.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("[tensor] len() of a tensor without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        body = np.array2string(self._array, precision=4, separator=", ", prefix="tensor(")
        kind = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        grad = f", grad_fn=<{self._node.name}>" if self._node else ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({body}{kind}{grad})"

    # Out of the tape

    def numpy(self) -> np.ndarray:
        """The numbers, without a copy.

        Read-only if the tensor requires gradients and recording is on. Otherwise writable; the tensor then counts as
        changed for as long as the array (or a view of it) lives, so nothing derived from its numbers is cached meanwhile.
        """
        if self._node is not None or (self.requires_grad and tape.is_grad_enabled()) or not self._array.flags.writeable:
            view = self._array.view()
            view.flags.writeable = False
            return view
        storage = self._shared()
        storage.generation += 1
        token = storage.token() if storage.token is not None else None
        if token is None:
            token = _Token()
            storage.token = weakref.ref(token)
        return np.asarray(_WritableView(self._array, token))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def item(self) -> Number | int | bool:
        """The number in a tensor of one element."""
        if self._array.size != 1:
            raise ShapeError(f"[tensor] item: expected one element, got shape {list(self.shape)}")
        return self._array.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._array.tolist()

    def __float__(self) -> Number:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def detach(self) -> Tensor:
        """The same numbers, apart from the tape: a change of either is a change of both."""
        result = wrap(self._array)
        result._storage = self._shared()
        return result

    def clone(self) -> Tensor:
        """A copy; gradients flow through."""
        from .shape import clone

        return clone(self)

    # Gradients

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets whether gradients are recorded for a leaf; returns it."""
        if self._node is not None:
            raise RuntimeError("[tensor] requires_grad_: only a leaf can change; use detach() for a result")
        if requires_grad and self._array.dtype not in FLOATS:
            raise DtypeError(f"[tensor] requires_grad_: only float32 and float64 have gradients, got {self._array.dtype}")
        self.requires_grad = requires_grad
        return self

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Adds d self / d leaf to the `grad` of every leaf.

        `gradient`: the gradient of self, same shape; left out for a tensor of one element. `retain_graph` keeps the tape for
        another call. Gradients of gradients are not available.
        """
        if not self.requires_grad:
            raise RuntimeError("[tensor] backward: this tensor does not require gradients, or was computed under no_grad")
        if gradient is None:
            if self._array.size != 1:
                raise ShapeError(
                    f"[tensor] backward: gradient is needed for shape {list(self.shape)}; it is implied for one element only"
                )
            array = np.ones(self.shape, self.dtype)
        else:
            array = as_array(gradient)
            if array.shape != self.shape:
                raise shape_error("tensor", "backward gradient", f"shape {list(self.shape)}", array.shape)
            if array.dtype != self.dtype:
                raise DtypeError(f"[tensor] backward gradient: expected {self.dtype}, got {array.dtype}")
        if self._node is None:
            self._set_gradient(array.copy() if self.grad is None else self.grad._array + array)
        else:
            tape.run_backward([(self._node, self._index, array)], retain_graph)

    def _set_gradient(self, gradient: np.ndarray) -> None:
        self.grad = Tensor(gradient)

    # Changes in place: every door raises the generation

    def _touch(self, who: str) -> None:
        if self._node is not None:
            raise RuntimeError(f"[tensor] {who}: a recorded result cannot be changed in place")
        if self.requires_grad and tape.is_grad_enabled():
            raise RuntimeError(f"[tensor] {who}: a leaf that requires gradients is changed in place under weft.no_grad() only")
        if not self._array.flags.writeable:
            self._own()
        self._changed()

    def _changed(self) -> None:
        storage = self._shared()
        storage.changes += 1
        storage.generation += 1

    def _own(self) -> None:
        """Takes a copy of the numbers, which shares nothing; the counts go on."""
        before = self._shared()
        self._array, self._storage = self._array.copy(), Storage()
        self._storage.changes, self._storage.generation = before.changes, before.generation

    def _become(self, dtype: Any) -> None:
        """Goes on in another dtype, the gradient too; tensors that shared its numbers keep the old ones."""
        if self._array.dtype == dtype:
            return
        before = self._shared()
        self._array, self._storage = self._array.astype(dtype), Storage()
        self._storage.changes, self._storage.generation = before.changes + 1, before.generation + 1
        if self.grad is not None:
            self.grad = Tensor(self.grad._array.astype(dtype))

    def _shared(self) -> Storage:
        if self._storage is None:
            self._storage = Storage()
        return self._storage

    @property
    def generation(self) -> int:
        """Counts changes of the numbers, by any tensor that shares them; packed weights are made anew when it differs."""
        return 0 if self._storage is None else self._storage.generation

    @property
    def _changes(self) -> int:
        return 0 if self._storage is None else self._storage.changes

    def _may_cache(self) -> bool:
        """Nobody outside may write the numbers, so they change through doors that raise the generation only."""
        storage = self._storage
        return storage is None or not (storage.foreign or (storage.token is not None and storage.token() is not None))

    def copy_(self, source: Any) -> Tensor:
        """Takes over the numbers of `source`, same shape (or one that broadcasts) and dtype."""
        array = as_array(source)
        if array.dtype != self.dtype and array.dtype.kind == "f":
            raise DtypeError(f"[tensor] copy_: expected {self.dtype}, got {array.dtype}")
        if np.broadcast_shapes(array.shape, self.shape) != self.shape:
            raise shape_error("tensor", "copy_", f"shape {list(self.shape)}", array.shape)
        self._touch("copy_")
        self._array[...] = array
        return self

    def fill_(self, value: Number) -> Tensor:
        """Sets every element."""
        self._touch("fill_")
        self._array[...] = value
        return self

    def zero_(self) -> Tensor:
        """Sets every element to zero."""
        return self.fill_(0)

    def add_(self, other: Any, *, alpha: Number = 1.0) -> Tensor:
        """self += alpha · other"""
        self._touch("add_")
        self._array += as_array(other, self.dtype) * self.dtype.type(alpha)
        return self

    def sub_(self, other: Any) -> Tensor:
        """self -= other"""
        self._touch("sub_")
        self._array -= as_array(other, self.dtype)
        return self

    def mul_(self, other: Any) -> Tensor:
        """self *= other"""
        self._touch("mul_")
        self._array *= as_array(other, self.dtype)
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        self._touch("item assignment")
        self._array[_plain_index(index)] = as_array(value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("[tensor] deepcopy: only leaves can be copied; use detach() or clone() for a result")
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        Tensor.__init__(result, self._array.copy(), self.requires_grad)
        result._storage = None
        result.grad = None if self.grad is None else self.grad.__deepcopy__(memo)
        return result

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:
        return id(self)


def _plain_index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(i._array if isinstance(i, Tensor) else i for i in index)
    return index._array if isinstance(index, Tensor) else index


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A leaf with a copy of `data`: array-likes keep their dtype, Python floats become float32, Python integers int64.

    >>> weft.tensor([1.0, 2.0]).dtype
    dtype('float32')
    """
    return leaf(as_array(data, dtype).copy(), requires_grad)


def leaf(array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A leaf around an array that nobody else has."""
    result = Tensor(array, requires_grad)
    result._storage = None
    return result


def wrap(array: np.ndarray) -> Tensor:
    """A tensor around what an operation of the package gave (NumPy turns results without axes into scalars)."""
    result = Tensor.__new__(Tensor)
    result._array = array if isinstance(array, np.ndarray) else np.asarray(array)
    result.requires_grad = False
    result.grad = result._node = result._storage = result._packed = None
    result._index = 0
    return result


def record(name: str, array: np.ndarray, parents: Sequence[Tensor | None], rule: tape.Rule) -> Tensor:
    """The result of an operation; `rule` maps its gradient to those of the parents (or None)."""
    result = wrap(array)
    if wants(*parents):
        result._node = tape.Node(name, parents, 1, rule)
        result.requires_grad = True
    return result


def record_view(name: str, array: np.ndarray, source: Tensor, rule: tape.Rule) -> Tensor:
    """`record` for an array of the source's own numbers, so that a change of either is a change of both."""
    result = record(name, array, (source,), rule)
    result._storage = source._shared()
    return result


def record_many(name: str, arrays: Sequence[np.ndarray], parents: Sequence[Tensor | None], rule: tape.Rule) -> list[Tensor]:
    """The results of an operation with several outputs; the rule gets one gradient (or None) for each."""
    results = [wrap(array) for array in arrays]
    if wants(*parents):
        node = tape.Node(name, parents, len(arrays), rule)
        for index, result in enumerate(results):
            result.requires_grad = True
            result._node, result._index = node, index
    return results


def wants(*parents: Tensor | None) -> bool:
    """Whether an operation on these will be recorded, and must keep what its backward pass needs."""
    if tape._mode.recording:
        for parent in parents:
            if parent is not None and parent.requires_grad:
                return True
    return False


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """Tensors as they are, arrays wrapped, Python scalars in the dtype of `like`."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float)) and like is not None:
        return Tensor(np.asarray(value, like.dtype if like.dtype.kind == "f" or isinstance(value, int) else np.float32))
    return Tensor(as_array(value))
