"""Inside a recurrent layer: how far gradients reach, what the gates did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor, enable_grad, no_grad
from ..errors import ConfigError, ShapeError
from .maps import new_axes


def gradient_flow(layer: Any, x: Any, loss: Callable[[Tensor], Tensor]) -> np.ndarray:
    """The norm of the loss's gradient at every step: ‖∂L/∂h_t‖ (mean over rows) → [num_layers, T].

    `layer`: an `RNN`, `LSTM` or `GRU` of one direction, or an `Unroll`; `x` as the layer takes it, batched; `loss`: from the layer's
    output to a tensor of one element. What is measured is what reaches h_t from the loss at step t (last layer) and from the steps
    behind it. A layer whose norms fall towards step 0 forgets (Bengio et al. 1994); dropout and zoneout are off.

    >>> layer = weft.nn.RNN(3, 5)
    >>> weft.interpret.gradient_flow(layer, np.ones((7, 2, 3), np.float32), lambda y: y[-1].sum()).shape
    (1, 7)
    """
    options = getattr(layer, "options", layer)
    if getattr(layer, "bidirectional", False) or options.reverse:
        raise ConfigError("[gradient_flow] layer: expected one direction, from the first step to the last")
    x = as_tensor(x)
    if x.ndim != 3:
        raise ShapeError(f"[gradient_flow] x: expected a batch (3 dimensions), got {list(x.shape)}")
    axis = 1 if layer.batch_first else 0
    steps = x.shape[axis]
    training = layer.training
    layer.eval()
    try:
        with no_grad():
            states: list[Any] = [None]
            pieces = []
            for t in range(steps):
                y, state = layer(_step(x, t, axis), states[-1])
                pieces.append(np.asarray(y))
                states.append(state)
        with enable_grad():
            output = Tensor(np.concatenate(pieces, axis), requires_grad=True)
            loss(output).backward()
            assert output.grad is not None
            dy = np.array(output.grad)
            norms = np.zeros((getattr(layer, "num_layers", 1), steps))
            carried: tuple[np.ndarray | None, ...] = (None, None)
            for t in range(steps - 1, -1, -1):
                leaves = [Tensor(np.array(s), requires_grad=True) for s in _parts(states[t])]
                before = None if not leaves else leaves[0] if len(leaves) == 1 else tuple(leaves)
                y, after = layer(_step(x, t, axis), before)
                direct = np.take(dy, [t], axis)
                here = np.zeros(_parts(states[t + 1])[0].shape, dy.dtype) if carried[0] is None else carried[0].copy()
                here = here if here.ndim == 3 else here[None]
                here[-1] += direct.squeeze(axis)
                norms[:, t] = np.sqrt((here.astype(np.float64) ** 2).sum(-1)).mean(-1)
                total = (y * direct).sum()
                for part, gradient in zip(_parts(after), carried, strict=False):
                    if gradient is not None:
                        total = total + (part * gradient).sum()
                if leaves:
                    total.backward()
                    layer.zero_grad()
                carried = tuple(None if leaf.grad is None else np.array(leaf.grad) for leaf in leaves)
        return norms
    finally:
        layer.train(training)


def _step(x: Tensor, t: int, axis: int) -> Tensor:
    return (x[:, t : t + 1] if axis else x[t : t + 1]).detach()


def _parts(state: Any) -> tuple[Tensor, ...]:
    return () if state is None else state if isinstance(state, tuple) else (state,)


def gates(layer: Any, x: Any, lengths: Any = None) -> dict[str, dict[str, np.ndarray]]:
    """Gates, cell and hidden states of every layer and direction by name, arrays [T, B, H] (as `return_gates=True` gives them).

    >>> inside = weft.interpret.gates(weft.nn.LSTM(3, 5), np.ones((7, 2, 3), np.float32))
    >>> list(inside["l0"]), inside["l0"]["f"].shape
    (['i', 'f', 'g', 'o', 'c', 'h'], (7, 2, 5))
    """
    with no_grad():
        *_, shown = layer(x, lengths=lengths, return_gates=True)
    return {where: {name: np.array(t) for name, t in of.items()} for where, of in shown.items()}


def plot_gradient_flow(flows: dict[str, np.ndarray], *, ax: Any = None) -> Any:
    """Curves of `gradient_flow` results by name (the last layer of each), on a logarithmic axis; returns matplotlib's axes."""
    ax = new_axes(7.0, 4.0) if ax is None else ax
    for name, norms in flows.items():
        ax.plot(np.maximum(np.atleast_2d(norms)[-1], np.finfo(np.float64).tiny), label=name)
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("norm of the gradient at h")
    ax.legend()
    return ax


def plot_gates(gate: np.ndarray, row: int = 0, *, ax: Any = None) -> Any:
    """One gate [T, B, H] of one row of the batch as a picture, units over steps; returns matplotlib's axes."""
    ax = new_axes(7.0, 4.0) if ax is None else ax
    image = ax.imshow(np.asarray(gate)[:, row].T, aspect="auto", cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    ax.set_xlabel("step")
    ax.set_ylabel("unit")
    ax.figure.colorbar(image, ax=ax)
    return ax
