"""Linear, Embedding, Dropout, LayerNorm, and activations as modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor
from ..autograd.tensor import leaf
from ..errors import choice_error, range_error
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def new_parameter(who: str, shape: Sequence[int], dtype: Any) -> Parameter:
    """A parameter without values yet."""
    dtype = np.dtype(np.float32 if dtype is None else dtype)
    if dtype not in DTYPES:
        raise choice_error(who, "dtype", ["float32", "float64"], str(dtype))
    return Parameter(leaf(np.zeros(tuple(shape), dtype)))


def check_device(who: str, device: Any) -> None:
    """torch's `device=` is taken for compatibility: there is only the CPU."""
    if device is not None and str(device) != "cpu":
        raise choice_error(who, "device", [None, "cpu"], device)


def check_size(who: str, what: str, value: Any) -> None:
    """Refuses sizes that are not whole numbers of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise range_error(who, what, "a whole number of at least 1", value)


class Linear(Module):
    """y = x Wᵀ + b: [..., in_features] → [..., out_features].

    Parameters as in torch: weight [out, in] and bias [out], uniform within 1/√in_features.

    >>> weft.nn.Linear(3, 2)(weft.tensor([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        check_size("linear", "in_features", in_features)
        check_size("linear", "out_features", out_features)
        check_device("linear", device)
        self.in_features, self.out_features = in_features, out_features
        self.weight = new_parameter("linear", (out_features, in_features), dtype)
        if bias:
            self.bias = new_parameter("linear", (out_features,), dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new initial values."""
        bound = 1.0 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Tensor:
        """[..., in_features] → [..., out_features]"""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """Rows of a table: whole numbers [...] → [..., embedding_dim].

    weight [num_embeddings, embedding_dim], standard normal as in torch; the row `padding_idx` is zero and stays so.

    >>> weft.nn.Embedding(10, 4)(weft.tensor([1, 2])).shape
    (2, 4)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_size("embedding", "num_embeddings", num_embeddings)
        check_size("embedding", "embedding_dim", embedding_dim)
        check_device("embedding", device)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise range_error("embedding", "padding_idx", f"a whole number below {num_embeddings}", padding_idx)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = new_parameter("embedding", (num_embeddings, embedding_dim), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new initial values."""
        table = init.default_generator().normal(0.0, 1.0, self.weight.shape, self.weight.dtype)
        if self.padding_idx is not None:
            table[self.padding_idx] = 0.0
        with init.no_grad():
            self.weight.copy_(table)

    def forward(self, input: Any) -> Tensor:
        """Whole numbers [...] → [..., embedding_dim]"""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Dropout(Module):
    """Zeroes elements with probability p in training and scales the others by 1 / (1 − p) (Srivastava et al. 2014).

    p is rounded to a 65,536th.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise range_error("dropout", "p", "a number from 0 to 1", p)
        self.p = p

    def forward(self, input: Any) -> Tensor:
        """Same shape."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class LayerNorm(Module):
    """(x − mean) / √(variance + eps) · weight + bias over the last axes (Ba et al. 2016, eq. 4); biased variance.

    >>> weft.nn.LayerNorm(4)(weft.tensor([[1.0, 2.0, 3.0, 4.0]])).shape
    (1, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_device("layer_norm", device)
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            if wanted:
                setattr(self, name, new_parameter("layer_norm", self.normalized_shape, dtype))
            else:
                self.register_parameter(name, None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight one, bias zero."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Tensor:
        """Same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The axes."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / √(mean(x²) + eps) · weight over the last axes (Zhang & Sennrich 2019, eq. 4); eps None is the dtype's machine epsilon.

    >>> weft.nn.RMSNorm(4)(weft.tensor([[1.0, 2.0, 3.0, 4.0]])).shape
    (1, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_device("rms_norm", device)
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        if elementwise_affine:
            self.weight: Any = new_parameter("rms_norm", self.normalized_shape, dtype)
        else:
            self.register_parameter("weight", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight one."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Tensor:
        """input [..., *normalized_shape] → the same shape."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Any) -> Tensor:
        """Same shape."""
        return F.tanh(input)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)"""

    def forward(self, input: Any) -> Tensor:
        """Same shape."""
        return F.sigmoid(input)


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, input: Any) -> Tensor:
        """Same shape."""
        return F.relu(input)


class GELU(Module):
    """x · Φ(x) (Hendrycks & Gimpel 2016)."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        """Same shape."""
        return F.gelu(input, self.approximate)


class CrossEntropyLoss(Module):
    """−log softmax(input)[target]; see `nn.functional.cross_entropy`."""

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.register_buffer("weight", None if weight is None else as_tensor(weight))
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        """Logits [N, V, …] and classes [N, …] → a number, or [N, …] for reduction 'none'."""
        return F.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
