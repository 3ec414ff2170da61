"""Rows of a table by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _native
from ..errors import DtypeError
from .buffers import contiguous
from .tensor import Tensor, as_tensor, record


def embedding(indices: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """weight[indices] for whole numbers [...] and a table [V, D]: [..., D]. The row `padding_idx` gets no gradient."""
    positions = as_tensor(indices)._array
    if positions.dtype.kind not in "iu":
        raise DtypeError(f"[embedding] input: expected int64, got {positions.dtype}")
    positions = np.asarray(positions, np.int64, order="C")
    rows = weight.shape[0]

    def rule(g: np.ndarray) -> tuple[np.ndarray]:
        return (_native.embedding_backward(contiguous(g), positions, rows, padding_idx),)

    return record("embedding", _native.embedding_forward(weight._array, positions), (weight,), rule)
