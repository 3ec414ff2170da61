"""Which axis is meant: functions over `dim` read it here, before work starts."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import AxisError

Axis = int | Sequence[int] | None


def one_axis(who: str, dim: int, ndim: int) -> int:
    """The axis `dim`, counted from the end if negative. A number has one axis for this purpose, as in torch."""
    count = max(ndim, 1)
    if not -count <= dim < count:
        raise AxisError(f"[{who}] dim: expected a whole number from {-count} to {count - 1}, got {dim!r}")
    return dim % count


def some_axes(who: str, dim: Axis, ndim: int) -> list[int]:
    """All axes for None, else those named, in rising order."""
    if dim is None:
        return list(range(ndim))
    axes = {one_axis(who, d, ndim) for d in ([dim] if isinstance(dim, int) else dim)}
    return sorted(axes) if ndim else []
