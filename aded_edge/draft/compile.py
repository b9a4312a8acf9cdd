"""Compiling kernels with Numba: without the GIL, and cached on disk where that is possible.

Knows Numba, and which source files hold kernels. Does not know any kernel.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

log = logging.getLogger("aded_edge")

F = TypeVar("F", bound=Callable[..., Any])


def _version() -> str:
    # Numba's cache notices a change only in the file of the function itself, not in the files of
    # other kernels that it calls. So the cache key holds a hash of all files with kernels.
    package = Path(__file__).parent.parent
    sources = sorted((*package.glob("draft/*.py"), *package.glob("decode/*.py")))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


_VERSION = _version()


class _Sealed(CompileResultCacheImpl):
    """A compiled kernel with a digest, because damaged machine code would crash the process."""

    def reduce(self, data: Any) -> tuple[bytes, bytes]:
        pickled = dumps(super().reduce(data))
        return hashlib.sha256(pickled).digest(), pickled

    def rebuild(self, target_context: Any, reduced_data: tuple[bytes, bytes]) -> Any:
        digest, pickled = reduced_data
        if hashlib.sha256(pickled).digest() != digest:
            raise ValueError("its digest is wrong")
        return super().rebuild(target_context, pickle.loads(pickled))


class _Cache(FunctionCache):
    """Numba's cache of one kernel. A file that cannot be used costs a compilation, no more."""

    _impl_class = _Sealed

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # unpickling damaged bytes may raise anything
            log.debug("compiled kernels in %s are damaged (%s)", self.cache_path, error)
            self._give_up(self.flush)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        self._give_up(lambda: super(_Cache, self).save_overload(sig, data))

    def _give_up(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # a full disk, a folder that is not writable any more
            log.debug("compiled kernels are not kept in %s (%s)", self.cache_path, error)


def kernel(function: F) -> F:
    """Compile `function` at its first call, or load it from the cache on disk."""
    return compiled(function)


def compiled(function: F, **options: Any) -> F:
    """Do the same as `kernel`, with further options of Numba's `njit`."""
    function.__qualname__ += f"_{_VERSION}"  # is part of the file name in the cache
    try:
        made: F = njit(cache=True, nogil=True, **options)(function)
        made._cache = _Cache(function)  # type: ignore[attr-defined]
    except RuntimeError:  # no folder that Numba may write: every process compiles anew
        made = njit(nogil=True, **options)(function)
    return made
