"""The first load of a model file, in a process of its own: what would end this one ends that one.

llama.cpp trusts its files. The code that loads them and builds their graphs has some six hundred
assertions that end the process; it divides by numbers of the file, and reserves what the file says.
No check of a header can follow that. So `llamacpp.try_file` loads a file first that was never
loaded here, and llama.cpp's own words are the reason of the error. A file that went well is
remembered by its place, size and times, as an empty file in the user's cache folder, and is not
tried again.

Knows processes and what they end with. Does not know llama.cpp.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from aded_edge import private
from aded_edge.errors import AdapterError, ModelError
from aded_edge.llamacpp import try_file
from aded_edge.llamacpp.system import library_files
from aded_edge.llamacpp.weights import shards

log = logging.getLogger("aded_edge")

_SMALL = {"n_ctx": 64, "n_batch": 64, "n_ubatch": 64, "n_threads": 4, "n_threads_batch": 4}
"""Sizes that a file is tried with, at most."""

_NOT_TRIED = frozenset(
    {
        "chat_handler", "draft_model", "lora_base", "lora_path", "n_gpu_layers", "seed",
        "tensor_split", "tokenizer", "use_mlock", "use_mmap", "verbose",
    }
)  # fmt: skip
"""Arguments of `Llama` that a file is tried without."""

_HEAP_BYTES = 2 << 30
"""Memory that the process may use beside the weights, which it maps. Gemma's vocabulary of 262,000
tokens takes 0.1 GB of it."""

_SECONDS = 20
"""Seconds that the process may compute. Beside this, it may take a second for each SLOW bytes."""

_SLOW = 20_000_000

_PATIENCE = 6
"""The process may wait (for a disk) so many times as long as it may compute."""

_REFUSED = ("Failed to load model", "Failed to create llama_context", "Failed to get vocab")
"""How llama_cpp's exceptions begin where llama.cpp refused the file."""

_DAMAGED = "the file is damaged, or made to do harm; take another copy of the model"

_OTHER_KINDS = {
    "adapter": "it is a LoRA adapter; give it as lora_path, beside the model it was made for",
    "mmproj": "it reads pictures or sounds for a model; give it to a chat handler as "
    "clip_model_path, and the model itself as the model",
    "imatrix": "it holds statistics for quantising, and no model",
}
_OTHER_KINDS["clip"] = _OTHER_KINDS["mmproj"]
"""Type or architecture of a file that is no model -> what it is for."""

_KIND = re.compile(r" general\.(?:type|architecture) .* = (.*)")


def check_first_load(model_path: str, arguments: Mapping[str, Any]) -> None:
    """Load a file in another process, unless it was loaded before in this way.

    Args:
        model_path: a file.
        arguments: keyword arguments of llama_cpp's constructor. A LoRA adapter is tried with it.

    Raises:
        ModelError: the file ends that process, or llama.cpp refuses it.
        AdapterError: it is the adapter that is refused.
    """
    tried = {name: value for name, value in arguments.items() if _can_be_tried(name, value)}
    lora_path = arguments.get("lora_path")
    files = [*shards(Path(model_path)), *([Path(lora_path)] if lora_path else [])]
    files = [file for file in files if file.is_file()]
    mark = _mark(files, tried)
    if mark.exists():
        return
    seconds = _SECONDS + sum(file.stat().st_size for file in files) // _SLOW
    output, code = _run(model_path, lora_path, tried, seconds)
    fault = _fault(output, code, seconds)
    if fault is not None and fault.startswith(try_file.NO_ADAPTER):
        raise AdapterError(
            f"{lora_path} is no LoRA adapter for {model_path}; give the adapter that was trained "
            "for it, as a GGUF file"
        )
    if fault is not None:
        both = f" with {lora_path}" if lora_path else ""
        raise ModelError(f"llama.cpp cannot load {model_path}{both}: {fault}")
    if code == 0:
        with suppress(OSError):  # it is tried again then
            private.make_folder(mark.parent)
            private.make_file(mark)


def _can_be_tried(name: str, value: object) -> bool:
    return name not in _NOT_TRIED and isinstance(value, bool | int | float | str | dict)


def _mark(files: list[Path], tried: Mapping[str, Any]) -> Path:
    """The file that exists if these files were loaded before, by this build, in this way."""
    states = [file.stat() for file in files]
    about = {
        "files": [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in states],
        "build": library_files(),
        "arguments": {name: value for name, value in tried.items() if name not in _SMALL},
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return Path(platformdirs.user_cache_dir("aded-edge", appauthor=False)) / "loaded" / digest[:32]


_PROGRAM = """
import json, runpy, sys
settings = json.loads(sys.argv[1])
sys.path[:] = settings["sys_path"]
runpy.run_path(settings["program"], run_name="__main__")
"""


def _run(
    model_path: str, lora_path: str | None, tried: Mapping[str, Any], seconds: int
) -> tuple[list[str], int | None]:
    """Run the process.

    Returns:
        What it wrote, behind its first line, and its exit status: negative for a signal, None if
        it did not end. ([], 1) if it could not begin.
    """
    sizes = {name: min(tried.get(name) or most, most) for name, most in _SMALL.items()}
    settings = {
        "program": try_file.__file__,
        "sys_path": sys.path,
        "arguments": {**tried, **sizes, "model_path": model_path, "verbose": True},
        "lora_path": lora_path,
        "heap_bytes": _HEAP_BYTES,
        "seconds": seconds,
    }
    quiet = {"GGML_NO_BACKTRACE": "1", "CUDA_VISIBLE_DEVICES": "-1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **quiet},
        )
    except OSError:  # this is no ordinary interpreter
        return [], 1
    with process:
        try:
            written, _ = process.communicate(timeout=_PATIENCE * seconds)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            written, code = process.communicate()[0], None
        except BaseException:
            process.kill()
            raise
    lines = written.decode("utf-8", "replace").splitlines()
    if try_file.BEGUN not in lines:
        return [], 1
    return lines[lines.index(try_file.BEGUN) + 1 :], code


def _fault(output: list[str], code: int | None, seconds: int) -> str | None:
    """What is wrong with the file, and the remedy; None if nothing was found."""
    if code == 0:
        return _refusal(output[:-1], json.loads(output[-1]))
    if not output and code == 1:
        return None
    if code is None or code == -getattr(signal, "SIGXCPU", 0):
        return f"its first load did not end after {seconds} seconds of computing; {_DAMAGED}"
    if code in {-signal.SIGINT, -signal.SIGTERM}:
        return None
    if code == -getattr(signal, "SIGKILL", 0):
        return "its first load was ended by the system, which has too little memory for it"
    return f"it ends the process ({_last_words(output, code)}); {_DAMAGED}"


def _refusal(output: list[str], outcome: dict[str, str]) -> str | None:
    found, raised = outcome.get("found"), outcome.get("raised")
    if found:
        return f"{found}; {_DAMAGED}"
    if raised in {"MemoryError", "UnicodeDecodeError"}:
        return f"{outcome['text'] or raised}; {_DAMAGED}"
    if raised is None or not outcome["text"].startswith(_REFUSED):
        return None  # llama_cpp says the same here
    kinds = [kind[1] for line in output if (kind := _KIND.search(line))]
    remedy = "it may be cut short (fetch it again) or need a newer llama-cpp-python"
    remedy = next((_OTHER_KINDS[each] for each in kinds if each in _OTHER_KINDS), remedy)
    return f"{_reason(output) or outcome['text']}; {remedy}"


def _reason(output: list[str]) -> str:
    """The first error of llama.cpp's log that is not about another device."""
    for line in output:
        if not line.startswith("ggml_") and not _KIND.search(line):
            return re.sub(r"^(\w+: )+(error loading model: )?", "", line)
    return ""


def _last_words(output: list[str], code: int) -> str:
    """An assertion that failed, an exception that nobody caught, or the signal."""
    for line in reversed(output):
        if "GGML_ASSERT" in line or ": fatal error" in line or "what():" in line:
            return re.sub(r"^\S*[/\\]", "", line.strip())
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"status {code}"
