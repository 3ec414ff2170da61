"""Parameters: leaf tensors that modules find and optimisers change."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor


class Parameter(Tensor):
    """A leaf tensor that requires gradients and registers itself with the module it is assigned to.

    >>> weft.nn.Parameter([[1.0, 2.0]]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
