"""Tensor and tape: one file of differentiable operations for each room of the kernels. The only part of Weft that calls `_native`."""

from . import operators as operators
from .elementwise import erf, exp, log, masked_fill, maximum, minimum, sqrt, where
from .matmul import matmul
from .reduction import mean, sum
from .shape import cat, chunk, permute, reshape, split, stack, transpose
from .tape import enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor, as_array, as_tensor, tensor

__all__ = [
    "Tensor", "as_array", "as_tensor", "cat", "chunk", "enable_grad", "erf", "exp", "is_grad_enabled", "log", "masked_fill",
    "matmul", "maximum", "mean", "minimum", "no_grad", "permute", "reshape", "split", "sqrt", "stack", "sum", "tensor", "transpose",
    "where",
]  # fmt: skip
