"""Any cell as a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import Tensor, as_tensor, stack, where
from ..errors import shape_error
from .functional import as_lengths
from .module import Module


class Unroll(Module):
    """A layer from a cell written with Tensor operations: cell(x_t [B, …], state) → state, or (output, state).

    A state is a tensor or a tuple of tensors, [B, …] each; without (output, state) the output is the state, or its first tensor.
    `layer(x [T, B, …], state, lengths=)` → output [T, B, …], last state ([B, T, …] with `batch_first`). Rows beyond their length keep
    their state and give zeros; NaN in padding does no harm to others.

    What it costs: every step is as many operations on the tape as the cell has, each several microseconds beside its arithmetic, and
    nothing is fused; a built-in layer of the same form is several times faster. Memory grows with T times the operations.

    >>> cell = weft.nn.GRUCell(3, 5)
    >>> output, state = weft.nn.Unroll(cell)(np.zeros((7, 2, 3), np.float32), weft.zeros(2, 5))
    >>> output.shape, state.shape
    ((7, 2, 5), (2, 5))
    """

    def __init__(self, cell: Callable[..., Any], batch_first: bool = False, *, reverse: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.batch_first, self.reverse = batch_first, reverse

    def forward(self, input: Any, state: Any = None, *, lengths: Any = None) -> tuple[Tensor, Any]:
        """Output and last state; shapes in the class."""
        x = as_tensor(input)
        if x.ndim < 2:
            raise shape_error("unroll", "input", "shape [T, B, …]", x.shape)
        axis = 1 if self.batch_first else 0
        steps, batch = x.shape[axis], x.shape[1 - axis]
        if steps == 0:
            raise shape_error("unroll", "input", "at least one step", x.shape)
        sizes = as_lengths("unroll", lengths, batch, steps)
        outputs: list[Tensor] = []
        for t in range(steps)[::-1] if self.reverse else range(steps):
            step = x[:, t] if self.batch_first else x[t]
            alive = None if sizes is None or (sizes > t).all() else sizes > t
            if alive is not None:
                # What lies beyond a length is not looked at: 0 instead.
                step = _keep(alive, step, None)
            result = self.cell(step, state)
            output, new = result if _is_pair(result, state) else (_first(result), result)
            state = new if alive is None else _map(lambda a, b, alive=alive: _keep(alive, a, b), new, state)
            outputs.append(output if alive is None else _keep(alive, output, None))
        if self.reverse:
            outputs.reverse()
        return stack(outputs, axis), state


def _is_pair(result: Any, state: Any) -> bool:
    """(output, state) rather than a state: a tuple of two whose second is shaped like the state that was given."""
    if not isinstance(result, tuple) or len(result) != 2:
        return False
    if isinstance(result[1], tuple):
        return True
    return not isinstance(state, tuple) and state is not None


def _first(state: Any) -> Tensor:
    return state[0] if isinstance(state, tuple) else state


def _keep(alive: Any, a: Tensor, b: Tensor | None) -> Tensor:
    """a in living rows, b (or zero) in the others."""
    return where(alive.reshape((-1,) + (1,) * (a.ndim - 1)), a, 0.0 if b is None else b)


def _map(f: Callable[..., Tensor], new: Any, old: Any) -> Any:
    if isinstance(new, tuple):
        return tuple(f(a, None if old is None else b) for a, b in zip(new, old or new, strict=True))
    return f(new, old)
