"""Instruction set, threads, memory: what the native core runs with."""

from __future__ import annotations

from . import _native


def get_num_threads() -> int:
    """Threads that kernels may use, the caller included.

    `set_num_threads` > `WEFT_NUM_THREADS` > `OMP_NUM_THREADS` > what affinity and cgroup allow.
    """
    return _native.num_threads()


def set_num_threads(n: int) -> None:
    """Sets the number of threads, 1 to 1024, for the whole process. Results do not depend on it."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 1024:
        from .errors import range_error

        raise range_error("set_num_threads", "n", "a whole number from 1 to 1024", n)
    _native.set_num_threads(n)


def get_isa() -> str:
    """The instruction set that runs: 'avx512', 'avx2' or 'portable'. `WEFT_ISA` is read at the first kernel."""
    return _native.isa()


def empty_cache() -> int:
    """Gives memory that is kept for use again back to the system; returns how many bytes."""
    return _native.empty_cache()


def set_flush_denormal(mode: bool) -> bool:
    """Flushes subnormal numbers to zero, in the caller and in the workers of its kernels; False where the processor cannot.

    Off by default, as in torch. Worth it where gradients vanish and subnormal numbers are slow: on an Intel Xeon an RNN that is stuck over
    200 steps trained ten times as fast. Numbers below 1.2e-38 (f64: 2.2e-308) become 0, so last bits may differ.

    >>> done = weft.set_flush_denormal(False)
    """
    return _native.set_flush_denormal(mode)


def show_config() -> str:
    """A few lines about the build and the machine; also printed by `weft info`.

    >>> print(weft.show_config())            # doctest: +SKIP
    weft 0.1.0 · instruction set avx512 (of portable, avx2, avx512) · 2 threads · 1024 KiB second-level cache
    """
    from . import __version__

    isas = ", ".join(_native.available_isas())
    cache = _native.second_level_cache() >> 10
    return f"weft {__version__} · instruction set {get_isa()} (of {isas}) · {get_num_threads()} threads · {cache} KiB second-level cache"
