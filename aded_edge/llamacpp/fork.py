"""Forks: llama.cpp's threads do not exist in the new process, and must not be waited for there.

OpenMP keeps the threads of the last evaluation for the next one. A process made by `fork` has only
the thread that forked, and would wait for the others for good. So they end before the fork; both
processes start new ones with their next evaluation.

Knows OpenMP, as far as llama.cpp was built with it. Does not know models.
"""

from __future__ import annotations

import functools
import os

import llama_cpp

_HARD = 2
"""OpenMP's omp_pause_hard: end all threads."""


def _end_openmp_threads() -> None:
    try:
        # Found in the libraries that llama.cpp's own depends on.
        pause = llama_cpp.llama_cpp._lib.omp_pause_resource_all
    except AttributeError:  # built without OpenMP
        return
    pause(_HARD)


@functools.cache
def end_threads_before_forks() -> None:
    """From now on, end llama.cpp's threads before each fork of this process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_end_openmp_threads)
