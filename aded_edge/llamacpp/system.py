"""The build of llama.cpp and the machine: versions, features, what is logged while loading.

Knows llama.cpp's own account of itself and the CPU's name. Does not know models.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp
from llama_cpp._logger import llama_log_callback

_GGML = "libggml-"
"""What the names of ggml's libraries begin with; the kind of device follows."""

_NO_GPU = frozenset(("base", "blas", "cpu", "rpc"))
"""Libraries of ggml that bring no GPU."""


def binding_version() -> str:
    """Version of llama-cpp-python."""
    return str(llama_cpp.__version__)


def build_info() -> str:
    """llama.cpp's system info: backends and their features ("CPU : AVX2 = 1 | ...")."""
    return str(llama_cpp.llama_print_system_info().decode("utf-8", "replace"))


def build_name(version: str | None = None, info: str | None = None) -> str:
    """Name a build for people: its version, and the kernels that decide about its speed on a CPU.

    Llamafile's kernels are in it by default; they read prompts faster, and round differently.

    Args:
        version: version of llama-cpp-python; None for the one that runs.
        info: llama.cpp's system info; None for that of the build that runs.
    """
    info = build_info() if info is None else info
    kernels = {"llamafile": "LLAMAFILE", "repack": "REPACK", "AMX": "AMX_INT8"}
    states = [f"{name} {'on' if f'{key} = 1' in info else 'off'}" for name, key in kernels.items()]
    return f"llama-cpp-python {version or binding_version()} ({', '.join(states)})"


def library_files() -> list[tuple[str, int, int]]:
    """Name, bytes and time of change (ns) of llama.cpp's libraries: another build has others."""
    folder = Path(llama_cpp.__file__).parent / "lib"
    return sorted(
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.glob("*")
        if path.is_file()
    )


def built_for() -> list[str]:
    """The kinds of GPUs that this build has code for: "cuda", "metal", "vulkan"."""
    libraries = {name.split(".")[0] for name, *_ in library_files()}
    kinds = {name[len(_GGML) :] for name in libraries if name.startswith(_GGML)}
    return sorted(kinds - _NO_GPU)


def cpu_name() -> str:
    """Name of the processor and number of its logical cores, as Linux lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


@contextmanager
def captured_log() -> Iterator[list[str]]:
    """Collect what llama.cpp logs inside the `with` block; nothing of it is printed.

    Yields:
        The lines, filled in when the block ends.
    """
    pieces: list[bytes] = []
    lines: list[str] = []
    callback = llama_cpp.llama_log_callback(lambda level, text, _: pieces.append(text))
    llama_cpp.llama_log_set(callback, None)
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(llama_log_callback, None)
        lines += b"".join(pieces).decode("utf-8", "replace").splitlines()
