"""Parameters: leaf tensors that modules find and optimisers change."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor


class Parameter(Tensor):
    """A leaf tensor that requires gradients and registers itself with the module it is assigned to. It shares the numbers of a tensor, as
    torch's does, and copies those of an array.

    >>> weft.nn.Parameter([[1.0, 2.0]]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
        if self._storage is not None and self._storage.foreign:
            # Packed forms of a parameter are kept, so nobody outside may write its numbers.
            self._own()
