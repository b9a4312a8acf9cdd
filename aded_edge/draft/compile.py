"""Compiling kernels with Numba: without the GIL, and cached on disk where that is possible.

Knows Numba, and which source files hold kernels. Does not know any kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def _version() -> str:
    # Numba's cache notices a change only in the file of the function itself, not in the files of
    # other kernels that it calls. So the cache key holds a hash of all files with kernels.
    package = Path(__file__).parent.parent
    sources = sorted((*package.glob("draft/*.py"), *package.glob("decode/*.py")))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


_VERSION = _version()


def kernel(function: F) -> F:
    """Compile `function` at its first call, or load it from the cache on disk."""
    return compiled(function)


def compiled(function: F, **options: Any) -> F:
    """Do the same as `kernel`, with further options of Numba's `njit`."""
    function.__qualname__ += f"_{_VERSION}"  # is part of the file name in the cache
    try:
        made: F = njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # no folder that Numba may write: every process compiles anew
        made = njit(nogil=True, **options)(function)
    return made
