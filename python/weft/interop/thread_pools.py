"""Weft's threads among those of other libraries: a controller for threadpoolctl."""

from __future__ import annotations

from typing import Any


def register_threadpoolctl() -> None:
    """Lets `threadpoolctl.threadpool_info` and `threadpool_limits` see and limit Weft's threads (user_api "weft").

    Call it once; it needs the package threadpoolctl. Bits of results do not depend on the limit.

    >>> weft.interop.register_threadpoolctl()                          # doctest: +SKIP
    >>> with threadpoolctl.threadpool_limits(1, user_api="weft"):      # doctest: +SKIP
    ...     y = layer(x)
    """
    try:
        import threadpoolctl
    except ImportError:
        raise ImportError("[interop] threadpoolctl is not installed: pip install threadpoolctl") from None

    class Controller(threadpoolctl.LibController):
        user_api = internal_api = "weft"
        filename_prefixes = ("_native",)
        check_symbols = ("weft_get_num_threads", "weft_set_num_threads")

        def get_num_threads(self) -> int:
            return self.dynlib.weft_get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.weft_set_num_threads(num_threads)

        def get_version(self) -> Any:
            from .. import __version__

            return __version__

    threadpoolctl.register(Controller)
