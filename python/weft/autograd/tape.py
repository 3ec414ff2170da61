"""The tape: what was computed from what, and the way back.

A node knows the rule that turns output gradients into input gradients, and where those go: to the node of an earlier operation,
or to a leaf tensor. Tensors hold nodes, nodes never hold the tensors they produced, so there are no reference cycles: when the
last tensor of a step is gone, so is its tape, without the garbage collector.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any

import numpy as np

from .buffers import apply

if TYPE_CHECKING:
    from .tensor import Tensor

Gradient = np.ndarray | None
Rule = Callable[..., Sequence[Gradient]]


class _Mode(threading.local):
    recording = True
    retaining = False

    def __init__(self) -> None:
        #: What `recording` was around each block that this thread is in.
        self.around: list[bool] = []


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return _mode.recording


def is_retaining() -> bool:
    """Whether the backward pass that runs in this thread keeps the tape for another one."""
    return _mode.retaining


class _Recording(ContextDecorator):
    """Sets whether operations are recorded, inside a `with` block or a decorated function.

    It holds no state of a block, so two of them serve every block of every thread.
    """

    def __init__(self, on: bool) -> None:
        self._on = on

    def __enter__(self) -> None:
        mode = _mode
        mode.around.append(mode.recording)
        mode.recording = self._on

    def __exit__(self, *_: object) -> None:
        mode = _mode
        # Nothing is left where a generator began the block in another thread.
        mode.recording = mode.around.pop() if mode.around else True


_NO_GRAD, _ENABLE_GRAD = _Recording(False), _Recording(True)


def no_grad() -> _Recording:
    """Nothing inside is recorded: inference, or updates of parameters by hand.

    >>> with weft.no_grad():
    ...     y = layer(x)                      # doctest: +SKIP
    """
    return _NO_GRAD


def enable_grad() -> _Recording:
    """Operations inside are recorded again, within `no_grad`."""
    return _ENABLE_GRAD


class Node:
    """One recorded operation."""

    __slots__ = ("edges", "name", "outputs", "rule")

    def __init__(self, name: str, parents: Sequence[Tensor | None], outputs: int, rule: Rule) -> None:
        self.name = name
        self.outputs = outputs
        self.rule: Rule | None = rule
        #: For each input: nothing, (node, which of its outputs), or (leaf tensor, how often it had changed when it was read).
        self.edges: list[tuple[Any, int] | None] = []
        for p in parents:
            if p is None or not p.requires_grad:
                self.edges.append(None)
            elif p._node is not None:
                self.edges.append((p._node, p._index))
            else:
                self.edges.append((p, 0 if p._storage is None else p._storage.changes))

    def gradients(self, outputs: list[Gradient], retain: bool) -> Sequence[Gradient]:
        """Input gradients from output gradients; the node is used up unless `retain`."""
        if self.rule is None:
            raise RuntimeError(
                f"[{self.name}] backward: the tape was used up by an earlier backward pass; "
                "ask that one for retain_graph=True to go through it again"
            )
        for edge in self.edges:
            if edge is not None and type(edge[0]) is not Node and edge[0]._changes != edge[1]:
                raise RuntimeError(
                    f"[{self.name}] backward: a parameter of shape {list(edge[0].shape)} was changed in place after the forward pass"
                )
        rule = self.rule
        if not retain:
            self.rule = None
        return rule(*outputs)


def _ordered(root: Node) -> list[Node]:
    """Every node that the root depends on, later operations first. Iterative: a tape may be thousands of operations deep."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        for edge in node.edges:
            if edge is not None and type(edge[0]) is Node and id(edge[0]) not in seen:
                stack.append((edge[0], False))
    order.reverse()
    return order


def _memory(array: np.ndarray) -> int:
    """Tells arrays apart by the memory that they look at."""
    return id(array.base if isinstance(array.base, np.ndarray) else array)


def _sum(there: np.ndarray, more: np.ndarray, place: tuple[int, int], sums: set[tuple[int, int]]) -> np.ndarray:
    """there + more, in place where `there` is a sum of this pass."""
    if place in sums and there.shape == more.shape:
        there += more
        return there
    sums.add(place)
    return np.asarray(apply(np.add, there, more))


# A gradient that is infinite or no number shows in what the leaves get; NumPy need not warn of it.
@np.errstate(all="ignore")
def run_backward(roots: Sequence[tuple[Node, int, np.ndarray]], retain: bool) -> None:
    """Sends gradients from outputs of nodes down to the leaves, where they are added to `grad`."""
    before = _mode.recording, _mode.retaining
    _mode.recording, _mode.retaining = False, retain
    try:
        pending: dict[int, list[Gradient]] = {}
        # What leaves were given, kept alive so that no two arrays have one id: a rule may send one array to several parents.
        given = {_memory(start): start for _, _, start in roots}
        # Where a sum of this pass stands, which nobody else has seen: what comes next is added in place.
        sums: set[tuple[int, int]] = set()
        for node, index, start in roots:
            pending.setdefault(id(node), [None] * node.outputs)[index] = start
        for node in _ordered(roots[0][0]):
            arrived = pending.pop(id(node), None)
            if arrived is None:
                continue
            if sums:
                sums.difference_update([(id(node), i) for i in range(node.outputs)])
            for edge, gradient in zip(node.edges, node.gradients(arrived, retain), strict=True):
                if edge is None or gradient is None:
                    continue
                if not isinstance(gradient, np.ndarray):
                    # NumPy turns results without axes into scalars.
                    gradient = np.asarray(gradient)
                target, place = edge
                if type(target) is Node:
                    slots = pending.get(id(target))
                    if slots is None:
                        slots = pending[id(target)] = [None] * target.outputs
                    there = slots[place]
                    slots[place] = gradient if there is None else _sum(there, gradient, (id(target), place), sums)
                elif target.grad is not None:
                    target._set_gradient(_sum(target.grad._array, gradient, (id(target), -1), sums))
                else:
                    memory = _memory(gradient)
                    if memory in given:
                        gradient = gradient.copy()
                    else:
                        given[memory] = gradient
                    target._set_gradient(gradient)
    finally:
        _mode.recording, _mode.retaining = before
