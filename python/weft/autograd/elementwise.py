"""Arithmetic and functions of single numbers. What is exactly rounded is NumPy's, the rest Rust's (rule R6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _native
from ..errors import ConfigError, DtypeError, range_error
from .buffers import SMALL, apply, contiguous
from .reduction import sum_to
from .tensor import Tensor, as_tensor, record


def _pair(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a._array.dtype is b._array.dtype:
        return a, b
    if not isinstance(b, Tensor):
        b = as_tensor(b, a)
    elif not isinstance(a, Tensor):
        a = as_tensor(a, b)
    if a.dtype != b.dtype:
        if a.dtype.kind == "f" and b.dtype.kind == "f":
            raise DtypeError(f"[{name}] expected one dtype, got {a.dtype} and {b.dtype}")
        # Whole numbers and bools become what the other is, as in torch; NumPy would make float64 of them.
        if a.dtype.kind == "f":
            b = Tensor(b._array.astype(a.dtype))
        elif b.dtype.kind == "f":
            a = Tensor(a._array.astype(b.dtype))
    return a, b


def add(a: Any, b: Any) -> Tensor:
    """a + b, broadcast as NumPy does."""
    a, b = _pair("add", a, b)
    x, y = a._array, b._array
    first, second = x.shape, y.shape
    if first != second:
        return record("add", apply(np.add, x, y), (a, b), lambda g: (sum_to(g, first), sum_to(g, second)))
    # Of a small sum, to ask `apply` where it should lie takes half as long as the sum.
    return record("add", np.add(x, y) if x.nbytes < SMALL else apply(np.add, x, y), (a, b), _to_both)


def _to_both(gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return gradient, gradient


def sub(a: Any, b: Any) -> Tensor:
    """a − b, broadcast as NumPy does."""
    a, b = _pair("sub", a, b)
    sizes = a.shape, b.shape

    def rule(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return sum_to(g, sizes[0]), sum_to(-g, sizes[1])

    return record("sub", apply(np.subtract, a._array, b._array), (a, b), rule)


def mul(a: Any, b: Any) -> Tensor:
    """a · b, broadcast as NumPy does."""
    a, b = _pair("mul", a, b)
    sizes = a.shape, b.shape
    # Each is the other's slope, and held for nothing else.
    x, y = a._array if b.requires_grad else None, b._array if a.requires_grad else None

    def rule(g: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        return (
            None if y is None else sum_to(apply(np.multiply, g, y), sizes[0]),
            None if x is None else sum_to(apply(np.multiply, g, x), sizes[1]),
        )

    return record("mul", apply(np.multiply, a._array, b._array), (a, b), rule)


def div(a: Any, b: Any) -> Tensor:
    """a / b, broadcast as NumPy does."""
    a, b = _pair("div", a, b)
    if a.dtype.kind != "f":
        a, b = Tensor(a._array.astype(np.float32)), Tensor(b._array.astype(np.float32))
    x, y = a._array, b._array
    with np.errstate(all="ignore"):
        quotient = apply(np.divide, x, y)

    def rule(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dx = apply(np.divide, g, y)
        return sum_to(dx, x.shape), sum_to(-dx * (x / y), y.shape)

    return record("div", quotient, (a, b), rule)


def neg(a: Tensor) -> Tensor:
    """−a"""
    return record("neg", apply(np.negative, a._array), (a,), lambda g: (-g,))


def absolute(a: Tensor) -> Tensor:
    """|a|; gradient 0 at 0."""
    x = a._array
    return record("abs", apply(np.abs, x), (a,), lambda g: (g * np.sign(x),))


def sqrt(a: Tensor) -> Tensor:
    """√a"""
    with np.errstate(invalid="ignore"):
        y = apply(np.sqrt, a._array)
    return record("sqrt", y, (a,), lambda g: (g / (2 * y),))


def power(a: Tensor, exponent: float) -> Tensor:
    """a to a Python number: whole exponents by repeated products, others as exp(exponent · log a)."""
    if isinstance(exponent, (int, float)) and float(exponent).is_integer() and abs(exponent) <= 64:
        n = int(abs(exponent))
        x = a._array

        def product(k: int) -> np.ndarray:
            result = np.ones_like(x)
            for _ in range(k):
                result = result * x
            return result

        y = product(n)
        if exponent >= 0:
            return record("pow", y, (a,), lambda g: (g * (n * product(n - 1)) if n else np.zeros_like(x),))
        return div(1.0, power(a, n))
    if exponent == 0.5:
        return sqrt(a)
    return exp(mul(log(a), float(exponent)))


def exponential(exponent: Tensor, base: float) -> Tensor:
    """A Python number to the power of a tensor, as exp(exponent · log base)."""
    if base <= 0.0:
        raise range_error("pow", "base", "a number above 0", base)
    return exp(mul(exponent, float(log(as_tensor(base, exponent)).item())))


def _unary(name: str, a: Tensor) -> np.ndarray:
    if a.dtype.kind != "f":
        raise DtypeError(f"[{name}] expected float32 or float64, got {a.dtype}")
    return _native.unary(name, contiguous(a._array))


def exp(a: Tensor) -> Tensor:
    """eᵃ, within 1 ulp."""
    y = _unary("exp", a)
    return record("exp", y, (a,), lambda g: (apply(np.multiply, g, y),))


def log(a: Tensor) -> Tensor:
    """The natural logarithm, within 1 ulp; −∞ at 0, NaN below."""
    x = a._array
    return record("log", _unary("log", a), (a,), lambda g: (apply(np.divide, g, x),))


def erf(a: Tensor) -> Tensor:
    """The error function; its slope is 2/√π · e^(−a²)."""
    x = a._array

    def rule(g: np.ndarray) -> tuple[np.ndarray]:
        return (g * _native.unary("exp", contiguous(np.asarray(-x * x))) * x.dtype.type(2 / np.sqrt(np.pi)),)

    return record("erf", _unary("erf", a), (a,), rule)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of two; where they are equal each gets half of the gradient, as in torch."""
    a, b = _pair("maximum", a, b)
    x, y = a._array, b._array

    def rule(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half = g.dtype.type(0.5)
        share = np.where(x > y, g, np.where(x == y, g * half, g.dtype.type(0)))
        return sum_to(share, x.shape), sum_to(g - share, y.shape)

    return record("maximum", apply(np.maximum, x, y), (a, b), rule)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of two."""
    return neg(
        maximum(neg(as_tensor(a, b if isinstance(b, Tensor) else None)), neg(as_tensor(b, a if isinstance(a, Tensor) else None)))
    )


def clamp(a: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """a cut off below `min` and above `max`; what was cut off gets no gradient."""
    if min is None and max is None:
        raise ConfigError("[clamp] min or max: expected at least one of them, got none")
    x = a._array
    inside = np.ones(x.shape, bool) if min is None else x >= min
    if max is not None:
        inside &= x <= max
    return record(
        "clamp", np.clip(x, min, max).astype(x.dtype, copy=False), (a,), lambda g: (np.where(inside, g, g.dtype.type(0)),)
    )


def cast(a: Tensor, dtype: Any) -> Tensor:
    """The numbers in another dtype; gradients come back in the first. Whole numbers and bools have none."""
    before, after = a.dtype, np.dtype(dtype)
    if after == before:
        return a
    if after.kind not in "fiub" or after == np.float16:
        raise DtypeError(f"[to] dtype: expected float32, float64, whole numbers or bool, got {after}")
    array = a._array.astype(after)
    return record("to", array, (a,), lambda g: (g.astype(before),)) if after.kind == "f" else Tensor(array)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; all broadcast."""
    mask = as_tensor(condition)._array
    a, b = _pair("where", a, b)
    sizes = a.shape, b.shape
    zero = a.dtype.type(0)

    def rule(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return sum_to(np.where(mask, g, zero), sizes[0]), sum_to(np.where(mask, zero, g), sizes[1])

    return record("where", np.where(mask, a._array, b._array), (a, b), rule)


def masked_fill(a: Tensor, mask: Any, value: float) -> Tensor:
    """a with `value` where the mask is True."""
    return where(mask, as_tensor(value, a), a)


def compare(name: str, a: Tensor, b: Any) -> Tensor:
    """A bool tensor; comparisons are not recorded."""
    return Tensor(getattr(np, name)(a._array, as_tensor(b, a)._array))
