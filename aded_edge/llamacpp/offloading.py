"""The devices beside the CPU that llama.cpp evaluates on: GPUs, and machines behind RPC.

A build for GPUs that finds no device evaluates on the CPU, whatever number of layers is asked for.
So this asks llama.cpp for the devices themselves, and a loaded model for its own.

Imports nothing of aded_edge, because the benchmark's baseline runs this file in an interpreter that
may not have it. Knows llama.cpp's devices. Does not know what an evaluation costs on them.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import llama_cpp

_GPU_TYPES = (1, 2)
"""GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU, in ggml-backend.h of llama-cpp-python 0.3.36."""

_N_DEVICES = "_Z21llama_model_n_devicesPK11llama_model"
_GET_DEVICE = "_Z22llama_model_get_devicePK11llama_modeli"
"""Symbols of llama.cpp's llama-ext.h: C++ functions, named alike by all compilers of Linux and
macOS."""


class Device(NamedTuple):
    """A device as llama.cpp names it: "Vulkan0", "NVIDIA GeForce RTX 3090"."""

    name: str
    description: str

    def __str__(self) -> str:
        return f"{self.name} ({self.description})"

    @property
    def remote(self) -> bool:
        """Whether it belongs to another process, behind RPC; its name and address may change."""
        return self.name.startswith("RPC")


def found() -> list[Device]:
    """The devices that layers can be offloaded to in this process; empty if there is only a CPU."""
    return [_device(handle) for kind, handle in listed() if kind in _GPU_TYPES]


def listed() -> list[tuple[int, int]]:
    """Type (`ggml_backend_dev_type`) and address of each device of this process, the CPU too."""
    llama_cpp.llama_supports_gpu_offload()  # makes llama.cpp look for devices
    count = _function("ggml_backend_dev_count", ctypes.c_size_t)
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    kind = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    return [(kind(handle), handle) for handle in map(get, range(count()))]


def evaluating(llama: llama_cpp.Llama) -> list[Device]:
    """The devices that hold layers of this model; empty if the CPU evaluates it alone."""
    if llama.model_params.n_gpu_layers == 0:
        return []
    count = _function(_N_DEVICES, ctypes.c_int, ctypes.c_void_p)
    get = _function(_GET_DEVICE, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    model = llama._model.model
    return [_device(get(model, place)) for place in range(count(model))]


def _device(handle: int) -> Device:
    name = _function("ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)
    description = _function("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)
    texts = (text(handle).decode("utf-8", "replace") for text in (name, description))
    return Device(*texts)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    # Found in llama.cpp's library, or in those of ggml that it depends on.
    return ctypes.CFUNCTYPE(result, *arguments)((name, llama_cpp.llama_cpp._lib))
