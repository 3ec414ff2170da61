"""RNNCell, LSTMCell and GRUCell: one step, as in `torch.nn`. A whole sequence is faster as a layer, and as exact step by step."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Tensor, as_tensor
from ..autograd.recurrent import recurrent
from ..errors import DtypeError, choice_error, shape_error
from . import init
from .layers import check_device, check_size, new_parameter
from .module import Module


class _Cell(Module):
    _gates = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any) -> None:
        super().__init__()
        self._who = type(self).__name__.lower()
        check_size(self._who, "input_size", input_size)
        check_size(self._who, "hidden_size", hidden_size)
        check_device(self._who, device)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self._gates * hidden_size
        self.weight_ih = new_parameter(self._who, (rows, input_size), dtype)
        self.weight_hh = new_parameter(self._who, (rows, hidden_size), dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, new_parameter(self._who, (rows,), dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new initial values, uniform within 1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, cell: str, input: Any, h: Any, c: Any = None) -> tuple[Tensor, Tensor | None]:
        x = as_tensor(input)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise shape_error(self._who, "input", f"shape [B, {self.input_size}] (2 dimensions)", x.shape)
        if x.dtype != self.weight_ih.dtype:
            raise DtypeError(f"[{self._who}] input: expected {self.weight_ih.dtype}, got {x.dtype}")
        batched = x.ndim == 2
        states = []
        for name, state in (("h", h), ("c", c)):
            if state is not None:
                state = as_tensor(state)
                expected = (*x.shape[:-1], self.hidden_size)
                if state.shape != expected:
                    raise shape_error(self._who, name, f"shape {list(expected)}", state.shape)
                if state.dtype != x.dtype:
                    raise DtypeError(f"[{self._who}] {name}: expected {x.dtype}, got {state.dtype}")
                state = state if batched else state.unsqueeze(0)
            states.append(state)
        x = x.unsqueeze(0) if batched else x.reshape(1, 1, self.input_size)
        direction = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        _, h_n, c_n = recurrent(cell, x, [direction], [states[0]], [states[1]], None, False, [False])
        results = [s if batched else s.squeeze(0) for s in (*h_n, *c_n)]
        return results[0], results[1] if len(results) == 2 else None

    def extra_repr(self) -> str:
        """The sizes, and whether there is no bias."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of `RNN`: input [B, I] (or [I]), h [B, H] (zeros if left out) → h' [B, H].

    >>> weft.nn.RNNCell(3, 5)(np.zeros((2, 3), np.float32)).shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise choice_error("rnncell", "nonlinearity", ("tanh", "relu"), nonlinearity)
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """h'; shapes in the class."""
        return self._step(f"rnn_{self.nonlinearity}", input, hx)[0]


class LSTMCell(_Cell):
    """One step of `LSTM`: input [B, I] (or [I]), (h, c) [B, H] (zeros if left out) → (h', c').

    >>> h, c = weft.nn.LSTMCell(3, 5)(np.zeros((2, 3), np.float32))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    _gates = 4

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """(h', c'); shapes in the class."""
        h, c = self._step("lstm", input, *((None, None) if hx is None else hx))
        assert c is not None
        return h, c


class GRUCell(_Cell):
    """One step of `GRU`: input [B, I] (or [I]), h [B, H] (zeros if left out) → h' [B, H].

    >>> weft.nn.GRUCell(3, 5)(np.zeros(3, np.float32)).shape
    (5,)
    """

    _gates = 3

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """h'; shapes in the class."""
        return self._step("gru", input, hx)[0]
