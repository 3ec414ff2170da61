"""Batch normalization as `torch.nn.BatchNorm1d`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor
from ..errors import shape_error
from . import functional as F
from . import init
from .layers import check_device, check_size, new_parameter
from .module import Module


class BatchNorm1d(Module):
    """(x − mean) / √(variance + eps) · weight + bias for each channel of [N, C] or [N, C, L] (Ioffe & Szegedy 2015, alg. 1).

    In training by the batch, which also moves `running_mean` and `running_var` by `momentum` (None: their plain average); in evaluation by
    these. Names, defaults and state dicts are torch's. `layer(x, lengths=)`, keyword-only: steps of [N, C, L] beyond a length count in no
    statistic and give zeros. A row's result depends on its batch in training; LayerNorm's does not.

    >>> weft.nn.BatchNorm1d(3)(weft.randn(4, 3, 5)).shape
    (4, 3, 5)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_size("batch_norm", "num_features", num_features)
        check_device("batch_norm", device)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name in ("weight", "bias"):
            self.register_parameter(name, new_parameter("batch_norm", (num_features,), dtype) if affine else None)
        number = np.float32 if dtype is None else dtype
        kept = {"running_mean": np.zeros(num_features, number), "running_var": np.ones(num_features, number)}
        for name, value in {**kept, "num_batches_tracked": np.array(0)}.items():
            self.register_buffer(name, Tensor(value) if track_running_stats else None)
        if affine:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, input: Any, *, lengths: Any = None) -> Tensor:
        """The same shape."""
        x = as_tensor(input)
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise shape_error("batch_norm", "input", f"shape [N, {self.num_features}] or [N, {self.num_features}, L]", x.shape)
        momentum = self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.copy_(self.num_batches_tracked._array + 1)
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked._array)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training or not self.track_running_stats,
            0.0 if momentum is None else momentum, self.eps, lengths=lengths,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Channels and constants."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
