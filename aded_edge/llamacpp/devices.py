"""ggml's backends and devices: what this build and this machine could evaluate with.

Knows ggml's registry, which llama_cpp has no Python names for. Does not know models.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import llama_cpp

from . import offloading

_CPU, _GPU, _INTEGRATED, _ACCELERATOR = 0, 1, 2, 3
"""Values of `ggml_backend_dev_type`. Accelerators (BLAS, AMX) work with the CPU's memory."""

_ADDRESS, _TEXT, _COUNT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t

_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "ggml_backend_dev_by_type": (_ADDRESS, [ctypes.c_int]),
    "ggml_backend_reg_by_name": (_ADDRESS, [_TEXT]),
    "ggml_backend_reg_dev_count": (_COUNT, [_ADDRESS]),
    "ggml_backend_reg_dev_get": (_ADDRESS, [_ADDRESS, _COUNT]),
    "ggml_backend_reg_get_proc_address": (_ADDRESS, [_ADDRESS, _TEXT]),
}
"""Name -> type of the result, types of the arguments."""


@functools.cache
def _ggml() -> Any:
    library = ctypes.CDLL(llama_cpp.llama_cpp._lib._name)  # finds ggml's functions too
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    llama_cpp.llama_supports_gpu_offload()  # loads the backends that a build has in files
    return library


def beside_cpu() -> bool:
    """Whether llama.cpp found a device beside the CPU and its accelerators.

    Every context begins to use all of them, whatever number of layers is offloaded. A process that
    is made by fork cannot use them.
    """
    return any(kind not in (_CPU, _ACCELERATOR) for kind, _ in offloading.listed())


def gpus() -> list[int]:
    """Addresses of this machine's GPUs; of the integrated ones only if there are no others."""
    kinds = offloading.listed()
    found = [device for kind, device in kinds if kind == _GPU]
    return found or [device for kind, device in kinds if kind == _INTEGRATED]


def cpu() -> int:
    """Address of the CPU's device."""
    return int(_ggml().ggml_backend_dev_by_type(_CPU))


def rpc_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the RPC backend; None in a build without it.

    Args:
        name: its name in ggml-rpc.h.
        result: type of its result.
        *arguments: types of its arguments.
    """
    ggml = _ggml()
    backend = ggml.ggml_backend_reg_by_name(b"RPC")
    address = backend and ggml.ggml_backend_reg_get_proc_address(backend, name.encode())
    return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None


def devices_of(backend: int) -> list[int]:
    """Addresses of the devices of a backend, given by its address."""
    ggml = _ggml()
    count = ggml.ggml_backend_reg_dev_count(backend)
    return [ggml.ggml_backend_reg_dev_get(backend, number) for number in range(count)]
