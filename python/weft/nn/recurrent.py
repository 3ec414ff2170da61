"""RNN, LSTM and GRU over whole sequences, as in `torch.nn`, with `lengths=`."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Tensor, as_tensor, cat, stack
from ..autograd.recurrent import recurrent
from ..errors import DtypeError, choice_error, range_error, shape_error
from . import functional as F
from . import init
from .functional import as_lengths
from .layers import check_device, check_size, new_parameter
from .module import Module


class _Recurrent(Module):
    """What the three layers share: parameters, shapes, layers and directions."""

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._who = type(self).__name__.lower()
        for what, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            check_size(self._who, what, value)
        if not 0.0 <= dropout <= 1.0:
            raise range_error(self._who, "dropout", "a number from 0 to 1", dropout)
        check_device(self._who, device)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        directions = 2 if bidirectional else 1
        rows = self._gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else directions * hidden_size
            for direction in range(directions):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    setattr(self, self._name(name, layer, direction), new_parameter(self._who, shape, dtype))
        self.reset_parameters()

    @staticmethod
    def _name(name: str, layer: int, direction: int) -> str:
        return f"{name}_l{layer}" + ("_reverse" if direction else "")

    def reset_parameters(self) -> None:
        """Draws new initial values, uniform within 1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    @property
    def _cell(self) -> str:
        return self._who

    def _direction(self, layer: int, direction: int) -> tuple[Any, Any, Any, Any]:
        names = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if self.bias else [])
        found = [getattr(self, self._name(n, layer, direction)) for n in names]
        return (*found, *[None] * (4 - len(found)))

    def _state(self, name: str, state: Any, batch: int, batched: bool, like: Tensor) -> list[Tensor | None]:
        count = self.num_layers * (2 if self.bidirectional else 1)
        if state is None:
            return [None] * count
        state = as_tensor(state)
        expected = (count, batch, self.hidden_size) if batched else (count, self.hidden_size)
        if state.shape != expected:
            raise shape_error(self._who, name, f"shape {list(expected)}", state.shape)
        if state.dtype != like.dtype:
            raise DtypeError(f"[{self._who}] {name}: expected {like.dtype}, got {state.dtype}")
        state = state if batched else state.unsqueeze(1)
        return [state[i] for i in range(count)]

    def _run(self, input: Any, h_0: Any, c_0: Any, lengths: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        x = as_tensor(input)
        weight = self.weight_ih_l0
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            axes = "B, T" if self.batch_first else "T, B"
            raise shape_error(self._who, "input", f"shape [{axes}, {self.input_size}] (3 dimensions)", x.shape)
        if x.dtype != weight.dtype:
            raise DtypeError(f"[{self._who}] input: expected {weight.dtype}, got {x.dtype}")
        batched = x.ndim == 3
        batch_axis = 0 if self.batch_first else 1
        if not batched:
            x = x.unsqueeze(batch_axis)
        batch, steps = x.shape[batch_axis], x.shape[1 - batch_axis]
        sizes = as_lengths(self._who, lengths, batch, steps)
        h = self._state("h_0", h_0, batch, batched, x)
        c = self._state("c_0", c_0, batch, batched, x)
        count = 2 if self.bidirectional else 1
        last_h, last_c = [], []
        for layer in range(self.num_layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            span = slice(layer * count, (layer + 1) * count)
            directions = [self._direction(layer, d) for d in range(count)]
            x, h_n, c_n = recurrent(self._cell, x, directions, h[span], c[span], sizes, self.batch_first, [False, True][:count])
            last_h += h_n
            last_c += c_n
        if not batched:
            x = x.squeeze(batch_axis)
        states = [stack(s) if batched else cat(s) for s in (last_h, last_c) if s]
        return x, states[0], states[1] if len(states) == 2 else None

    def extra_repr(self) -> str:
        """The sizes and the options that differ from their defaults."""
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        options = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        return ", ".join([str(self.input_size), str(self.hidden_size), *options])


class RNN(_Recurrent):
    """Elman's network (1990): h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh), or with `nonlinearity="relu"` max(0, ·).

    Arguments, parameter names, layouts and initial values are torch's. `layer(x, h_0, lengths=)` → output, h_n:
    x [T, B, input_size] ([B, T, …] when `batch_first`, [T, …] unbatched), h_0 and h_n [layers · directions, B, H],
    output [T, B, directions · H]. Steps beyond a row's length (0 to T, any order) are never read; their output is zero and
    h_n is the state after the last real step, of the reverse direction too.

    >>> output, h_n = weft.nn.RNN(3, 5)(np.zeros((7, 2, 3), np.float32))
    >>> output.shape, h_n.shape
    ((7, 2, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise choice_error("rnn", "nonlinearity", ("tanh", "relu"), nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        self.nonlinearity = nonlinearity

    @property
    def _cell(self) -> str:
        return f"rnn_{self.nonlinearity}"

    def forward(self, input: Any, h_0: Any = None, *, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Output and h_n; shapes in the class."""
        output, h_n, _ = self._run(input, h_0, None, lengths)
        return output, h_n


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate Gers et al. 2000).

    i, f, o = σ(W x_t + b + R h_{t−1} + b'), g = tanh(…); c_t = f ∘ c_{t−1} + i ∘ g; h_t = o ∘ tanh(c_t). Rows of the weights in the
    order i, f, g, o, as torch has them. `layer(x, (h_0, c_0), lengths=)` → output, (h_n, c_n); shapes as for `RNN`.

    >>> output, (h_n, c_n) = weft.nn.LSTM(3, 5, bidirectional=True)(np.zeros((7, 2, 3), np.float32))
    >>> output.shape, c_n.shape
    ((7, 2, 10), (2, 2, 5))
    """

    _gates = 4

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Output and (h_n, c_n); shapes in the class."""
        h_0, c_0 = (None, None) if hx is None else hx
        output, h_n, c_n = self._run(input, h_0, c_0, lengths)
        assert c_n is not None
        return output, (h_n, c_n)


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al. 2014) in torch's form, the reset after the recurrent product.

    r, z = σ(W x_t + b + R h_{t−1} + b'); n = tanh(W_n x_t + b_n + r ∘ (R_n h_{t−1} + b'_n)); h_t = (1 − z) ∘ n + z ∘ h_{t−1}. Rows of the
    weights in the order r, z, n. `layer(x, h_0, lengths=)` → output, h_n; shapes as for `RNN`.

    >>> output, h_n = weft.nn.GRU(3, 5, num_layers=2)(np.zeros((7, 2, 3), np.float32), lengths=[7, 4])
    >>> output.shape, h_n.shape
    ((7, 2, 5), (2, 2, 5))
    """

    _gates = 3

    def forward(self, input: Any, h_0: Any = None, *, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Output and h_n; shapes in the class."""
        output, h_n, _ = self._run(input, h_0, None, lengths)
        return output, h_n
