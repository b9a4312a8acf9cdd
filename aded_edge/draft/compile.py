"""How kernels are compiled: without the GIL, and kept on disk where that is possible.

Knows Numba, and which sources hold kernels. Does not know any kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def _version() -> str:
    # Numba looks only at the file that holds a function, not at those of the functions that it
    # compiles into it: after an update it would go on with the old ones.
    package = Path(__file__).parent.parent
    sources = sorted((*package.glob("draft/*.py"), *package.glob("decode/*.py")))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


_VERSION = _version()


def kernel(function: F) -> F:
    """Compiles `function` at its first call, or loads what an earlier process compiled."""
    return compiled(function)


def compiled(function: F, **options: Any) -> F:
    """`kernel`, with further options of Numba's `njit`."""
    function.__qualname__ += f"_{_VERSION}"  # part of the name of the file in the cache
    try:
        made: F = njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # no folder that Numba may write: every process compiles for itself
        made = njit(nogil=True, **options)(function)
    return made
