"""How kernels are compiled: without the GIL, and kept on disk where that is possible.

Knows Numba. Does not know any kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compiles `function` at its first call, or loads what an earlier process compiled."""
    return compiled(function)


def compiled(function: F, **options: Any) -> F:
    """`kernel`, with further options of Numba's `njit`."""
    try:
        made: F = njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # no folder that Numba may write: every process compiles for itself
        made = njit(nogil=True, **options)(function)
    return made
