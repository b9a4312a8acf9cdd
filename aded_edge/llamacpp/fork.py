"""Forks: llama.cpp's threads do not exist in the new process, and must not be waited for there.

OpenMP keeps the threads of the last evaluation for the next one. A process made by `fork` has only
the thread that forked, and would wait for the others for good. So they end before the fork; both
processes start new ones with their next evaluation. What a process holds of a GPU, or of another
machine, is of no use to a process that it forks.

Knows OpenMP, as far as llama.cpp was built with it, and llama.cpp's devices. Does not know models.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

import llama_cpp

_HARD = 2
"""OpenMP's omp_pause_hard: end all threads."""

_OF_THIS_PROCESS = (0, 3)
"""Types of ggml's devices that evaluate with the threads of this process: the CPU and its
accelerators (BLAS, AMX)."""


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


def uses_devices() -> bool:
    """Whether llama.cpp found a device beside the CPU.

    Every context begins to use all of them, whatever number of layers is offloaded.
    """
    library: Any = llama_cpp.llama_cpp._lib
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    devices = map(library.ggml_backend_dev_get, range(library.ggml_backend_dev_count()))
    return any(library.ggml_backend_dev_type(device) not in _OF_THIS_PROCESS for device in devices)
