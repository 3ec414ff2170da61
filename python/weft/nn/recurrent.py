"""RNN, LSTM and GRU over whole sequences, as in `torch.nn`, with `lengths=` and the options of `recurrent_options`."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from ..autograd import Tensor, as_tensor, cat, is_grad_enabled, no_grad, stack
from ..autograd.recurrent import Ready, infer, pack_recurrent, recurrent
from ..autograd.recurrent_options import Kind, recurrent_with_options
from ..errors import ConfigError, DtypeError, choice_error, range_error, shape_error
from . import functional as F
from . import init
from .functional import as_lengths
from .layers import check_device, check_size, new_parameter
from .module import Module
from .recurrent_options import GRUOptions, LSTMOptions, Options, RecurrentNoise, RecurrentOptions, check_noise, quiet
from .stream import Stream
from .utils.rnn import PackedSequence, packed_like, unpacked

#: Parameters of a direction that every cell has, and those of the options.
PLAIN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
OPTIONAL = ("weight_hr", "peephole", "norm_ih", "norm_hh", "norm_c")


class _Recurrent(Module):
    """What the three layers share: parameters, shapes, layers and directions."""

    _gates = 1
    _options_type: type = RecurrentOptions

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: Any,
        dtype: Any,
        options: Any,
    ) -> None:
        super().__init__()
        self._who = type(self).__name__.lower()
        for what, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            check_size(self._who, what, value)
        if not 0.0 <= dropout <= 1.0:
            raise range_error(self._who, "dropout", "a number from 0 to 1", dropout)
        if isinstance(proj_size, bool) or not isinstance(proj_size, int) or not 0 <= proj_size < hidden_size:
            raise range_error(self._who, "proj_size", f"a whole number from 0 to {hidden_size - 1}", proj_size)
        check_device(self._who, device)
        self.options = Options.of(self._who, options, self._options_type)
        if self.options.reverse and bidirectional:
            raise ConfigError(f"[{self._who}] reverse: a bidirectional layer has both directions already")
        if self.options.forget_bias is not None and not bias:
            raise ConfigError(f"[{self._who}] forget_bias: expected a layer with bias=True")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.proj_size = proj_size
        self._width = proj_size or hidden_size
        # What does not change between calls.
        self._fused = self.options.plain and not proj_size
        o = self.options
        self._ready = Ready()
        self._light = self._fused and not (bidirectional or o.residual or o.learn_initial_state)
        self._noisy = bool(o.input_dropout or o.recurrent_dropout or any(o.zoneouts))
        self._still = not self._noisy and (dropout == 0.0 or num_layers == 1)
        self._reverse = [self.options.reverse] if not bidirectional else [False, True]
        self._names = [
            [{n: self._name(n, layer, d) for n in (*PLAIN, *OPTIONAL)} for d in range(self._directions)]
            for layer in range(num_layers)
        ]
        for layer in range(num_layers):
            for direction in range(self._directions):
                for name, shape in self._shapes(self._widths[layer]).items():
                    setattr(self, self._name(name, layer, direction), new_parameter(self._who, shape, dtype))
        if self.options.learn_initial_state:
            states = num_layers * self._directions
            self.initial_h = new_parameter(self._who, (states, self._width), dtype)
            if self._cell == "lstm":
                self.initial_c = new_parameter(self._who, (states, hidden_size), dtype)
        self.reset_parameters()

    def _shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """Parameters of a direction in torch's order, then those of the options."""
        o, hidden = self.options, self.hidden_size
        rows = (self._gates - o.coupled_gates) * hidden
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, self._width)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = self.proj_size, hidden
        if o.peephole:
            shapes["peephole"] = 3 - o.coupled_gates, hidden
        if o.layer_norm:
            shapes |= {"norm_ih": (rows,), "norm_hh": (rows,)}
            if self._gates == 4:
                shapes["norm_c"] = 2, hidden
        return shapes

    @staticmethod
    def _name(name: str, layer: int, direction: int) -> str:
        return f"{name}_l{layer}" + ("_reverse" if direction else "")

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _widths(self) -> list[int]:
        """Features that each layer reads."""
        return [self.input_size] + [self._directions * self._width] * (self.num_layers - 1)

    def reset_parameters(self) -> None:
        """Draws new initial values, uniform within 1/√hidden_size; norms start as the identity, learned states at zero."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        hidden = self.hidden_size
        for name, p in self.named_parameters():
            with no_grad():
                if name.startswith("norm_c"):
                    init.zeros_(p)
                    p[0] = 1.0
                elif name.startswith("norm_"):
                    init.ones_(p)
                elif name.startswith("initial_"):
                    init.zeros_(p)
                else:
                    init.uniform_(p, -bound, bound)
                if self.options.orthogonal and name.startswith("weight_hh"):
                    for gate in range(0, p.shape[0], hidden):
                        p[gate : gate + hidden] = init.orthogonal_(Tensor(np.empty((hidden, p.shape[1]), p.dtype)))
                if self.options.forget_bias is not None and name.startswith("bias_"):
                    first = 0 if self.options.coupled_gates else hidden
                    p[first : first + hidden] = self.options.forget_bias if name.startswith("bias_ih") else 0.0

    @property
    def _cell(self) -> str:
        return self._who

    def _direction(self, layer: int, direction: int, names: tuple[str, ...]) -> Any:
        found, own = self._names[layer][direction], self._parameters
        return tuple(own.get(found[name]) for name in names)

    def _state(self, name: str, width: int, state: Any, batch: int, batched: bool, like: Tensor) -> list[Tensor | None]:
        count = self.num_layers * self._directions
        if state is None:
            learned = self._parameters.get(f"initial_{name[0]}")
            return [None if learned is None else learned[i].unsqueeze(0).expand(batch, width) for i in range(count)]
        state = as_tensor(state)
        expected = (count, batch, width) if batched else (count, width)
        if state.shape != expected:
            raise shape_error(self._who, name, f"shape {list(expected)}", state.shape)
        if state.dtype != like.dtype:
            raise DtypeError(f"[{self._who}] {name}: expected {like.dtype}, got {state.dtype}")
        if count == 1:
            return [state.reshape(batch, width)]
        state = state if batched else state.unsqueeze(1)
        return [state[i] for i in range(count)]

    def noise(self, batch: int) -> RecurrentNoise:
        """Masks and random numbers of one pass over `batch` rows, for a sequence that comes in pieces: `layer(x, state, noise=…)`."""
        weight = self.weight_ih_l0
        return RecurrentNoise(self.options, batch, self._widths, self._width, self._directions, weight.dtype)

    def _infer(self, x: Any, h_0: Any, c_0: Any) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """The short way through layers of one direction when nothing is recorded; None where an argument needs a closer look."""
        if type(x) is not Tensor:
            return None
        array, own = x._array, self._parameters
        shape, dtype = array.shape, own["weight_ih_l0"]._array.dtype
        if len(shape) != 3 or shape[2] != self.input_size or not (shape[0] and shape[1]) or array.dtype != dtype:
            return None
        if h_0 is not None or c_0 is not None:
            expected = (self.num_layers, shape[0 if self.batch_first else 1], self.hidden_size)
            for state in (h_0, c_0):
                if state is not None and (type(state) is not Tensor or state.shape != expected or state.dtype != dtype):
                    return None
        cell, parameters = self._cell, own.values()
        weights = self._ready.find(parameters)
        if weights is None:
            weights = self._ready.keep(parameters, [pack_recurrent(cell, d, False) for d in self.plain_layers()])
        return infer(weights, x, h_0, c_0, self.batch_first, self.options.reverse, cell == "lstm")

    def plain_layers(self) -> list[Any]:
        """weight_ih, weight_hh, bias_ih and bias_hh of every layer, forward direction."""
        return [self._direction(layer, 0, PLAIN) for layer in range(self.num_layers)]

    def stream(self, batch: int = 1) -> Stream:
        """The layer step by step on arrays, for inference as data come in: `weft.nn.Stream`."""
        return Stream(self, batch)

    def _run(self, input: Any, h_0: Any, c_0: Any, lengths: Any, noise: Any, return_gates: bool) -> tuple[Any, ...]:
        still = self._still or not self.training
        if self._light and still and not is_grad_enabled() and lengths is None and noise is None and not return_gates:
            found = self._infer(input, h_0, c_0)
            if found is not None:
                return *found, {}
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ConfigError(f"[{self._who}] lengths: a PackedSequence has its own")
            if return_gates:
                raise ConfigError(f"[{self._who}] return_gates: expected a padded input with lengths=, got a PackedSequence")
            padded, own = unpacked(input, self.batch_first)
            output, *states = self._run(padded, h_0, c_0, own, noise, False)
            return packed_like(output, input, self.batch_first), *states
        x = as_tensor(input)
        weight, o = self.weight_ih_l0, self.options
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
        if steps == 0:
            raise shape_error(self._who, "input", "at least one step", as_tensor(input).shape)
        sizes = as_lengths(self._who, lengths, batch, steps)
        h = self._state("h_0", self._width, h_0, batch, batched, x)
        c = self._state("c_0", self.hidden_size, c_0, batch, batched, x)
        if noise is not None:
            check_noise(self._who, noise, batch)
        elif self.training and self._noisy:
            noise = self.noise(batch)
        count, reverse = self._directions, self._reverse
        simple = self._fused and not return_gates
        last_h: list[Tensor] = []
        last_c: list[Tensor] = []
        gates: dict[str, dict[str, Tensor]] = {}
        for layer in range(self.num_layers):
            below = x
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            mask = noise.input(layer) if noise is not None and self.training else None
            if mask is not None:
                x = x * (mask[:, None] if self.batch_first else mask)
            span = slice(layer * count, (layer + 1) * count)
            directions = [self._direction(layer, d, PLAIN if simple else (*PLAIN, *OPTIONAL)) for d in range(count)]
            if simple:
                x, h_n, c_n = recurrent(self._cell, x, directions, h[span], c[span], sizes, self.batch_first, reverse)
            else:
                kind = Kind(self._cell, o.coupled_gates, not o.reset_after, self.hidden_size, self._width)
                given = [
                    noise.direction(i) if noise is not None and self.training else quiet(o) for i in range(span.start, span.stop)
                ]
                x, h_n, c_n, shown = recurrent_with_options(
                    kind, x, directions, h[span], c[span], sizes, self.batch_first, reverse, given, return_gates
                )
                for d, of in enumerate(shown):
                    part = x[..., d * self._width : (d + 1) * self._width].detach()
                    named = {name: Tensor(array) for name, array in of.items()} | {"h": part}
                    gates[self._name("", layer, d)[1:]] = (
                        named if batched else {k: t.squeeze(batch_axis) for k, t in named.items()}
                    )
            if o.residual and layer and below.shape == x.shape:
                x = x + below
            last_h += h_n
            last_c += c_n
        if noise is not None:
            noise.step += steps
        if not batched:
            x = x.squeeze(batch_axis)
        if len(last_h) == 1:
            states = [s[0].reshape(1, *s[0].shape) if batched else s[0] for s in (last_h, last_c) if s]
        else:
            states = [stack(s) if batched else cat(s) for s in (last_h, last_c) if s]
        return x, states[0], states[1] if len(states) == 2 else None, gates

    def extra_repr(self) -> str:
        """The sizes and the options that differ from their defaults."""
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False, "proj_size": 0}
        options = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        return ", ".join([str(self.input_size), str(self.hidden_size), *options, *self.options.changed()])


class RNN(_Recurrent):
    """Elman's network (1990): h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh), or with `nonlinearity="relu"` max(0, ·).

    Arguments, parameter names, layouts and initial values are torch's; further keyword-only options with their formulas and papers:
    `weft.nn.recurrent_options.Options`. `layer(x, h_0, lengths=, noise=, return_gates=)` → output, h_n (, gates):
    x [T, B, input_size] ([B, T, …] when `batch_first`, [T, …] unbatched) or a `PackedSequence`, h_0 and h_n [layers · directions, B, H],
    output [T, B, directions · H]. Steps beyond a row's length (0 to T, any order) are never read; their output is zero and
    h_n is the state after the last real step, of the reverse direction too. `return_gates=True` also returns what went on inside, by
    layer (`"l0"`, `"l0_reverse"`, …) and name, [T, B, H] each: h here, r, z, n of a GRU, i, f, g, o and c of an LSTM; nothing else changes.

    A sequence in pieces, the state carried along, gives the bits of the whole; `noise=layer.noise(B)` carries dropout masks and
    zoneout along too. Cut the tape between pieces with `weft.nn.detached(state)` (truncated backpropagation).

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
        **options: Unpack[RecurrentOptions],
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise choice_error("rnn", "nonlinearity", ("tanh", "relu"), nonlinearity)
        object.__setattr__(self, "nonlinearity", nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype, options
        )

    @property
    def _cell(self) -> str:
        return f"rnn_{self.nonlinearity}"

    def forward(self, input: Any, h_0: Any = None, *, lengths: Any = None, noise: Any = None, return_gates: bool = False) -> Any:
        """Output and h_n; shapes in the class."""
        output, h_n, _, gates = self._run(input, h_0, None, lengths, noise, return_gates)
        return (output, h_n, gates) if return_gates else (output, h_n)


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate Gers et al. 2000).

    i, f, o = σ(W x_t + b + R h_{t−1} + b'), g = tanh(…); c_t = f ∘ c_{t−1} + i ∘ g; h_t = o ∘ tanh(c_t), with `proj_size` P
    h_t = W_hr (o ∘ tanh(c_t)) (Sak et al. 2014). Rows of the weights in the order i, f, g, o, as torch has them.
    `layer(x, (h_0, c_0), lengths=, noise=, return_gates=)` → output, (h_n, c_n) (, gates); shapes and options as for `RNN`, h P wide.

    >>> output, (h_n, c_n) = weft.nn.LSTM(3, 5, bidirectional=True, peephole=True)(np.zeros((7, 2, 3), np.float32))
    >>> output.shape, c_n.shape
    ((7, 2, 10), (2, 2, 5))
    """

    _gates = 4
    _options_type = LSTMOptions

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[LSTMOptions],
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype, options
        )

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None, noise: Any = None, return_gates: bool = False) -> Any:
        """Output and (h_n, c_n); shapes in the class."""
        h_0, c_0 = (None, None) if hx is None else hx
        output, h_n, c_n, gates = self._run(input, h_0, c_0, lengths, noise, return_gates)
        return (output, (h_n, c_n), gates) if return_gates else (output, (h_n, c_n))


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al. 2014) in torch's form, the reset after the recurrent product; `reset_after=False` for Cho's.

    r, z = σ(W x_t + b + R h_{t−1} + b'); n = tanh(W_n x_t + b_n + r ∘ (R_n h_{t−1} + b'_n)), Cho's tanh(W_n x_t + b_n +
    R_n (r ∘ h_{t−1}) + b'_n); h_t = (1 − z) ∘ n + z ∘ h_{t−1}. Rows of the weights in the order r, z, n.
    `layer(x, h_0, lengths=, …)` → output, h_n (, gates); shapes and options as for `RNN`.

    >>> output, h_n = weft.nn.GRU(3, 5, num_layers=2)(np.zeros((7, 2, 3), np.float32), lengths=[7, 4])
    >>> output.shape, h_n.shape
    ((7, 2, 5), (2, 2, 5))
    """

    _gates = 3
    _options_type = GRUOptions

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
        **options: Unpack[GRUOptions],
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype, options
        )

    def forward(self, input: Any, h_0: Any = None, *, lengths: Any = None, noise: Any = None, return_gates: bool = False) -> Any:
        """Output and h_n; shapes in the class."""
        output, h_n, _, gates = self._run(input, h_0, None, lengths, noise, return_gates)
        return (output, h_n, gates) if return_gates else (output, h_n)


def detached(state: Any) -> Any:
    """A carried state (a tensor, or a tuple of them) apart from the tape: truncated backpropagation through time.

    >>> layer = weft.nn.LSTM(3, 5)
    >>> state = None
    >>> for piece in np.zeros((4, 10, 2, 3), np.float32):
    ...     output, state = layer(piece, state)
    ...     state = weft.nn.detached(state)          # after output's loss has gone backward
    """
    if isinstance(state, tuple):
        return tuple(detached(s) for s in state)
    return None if state is None else state.detach()
