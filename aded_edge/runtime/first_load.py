"""The first load of a model file, in a process of its own: what would end this one ends that one.

llama.cpp trusts its files. The code that loads them and builds their graphs has some six hundred
assertions that end the process; it divides by numbers of the file, and reserves what the file says.
No check of a header can follow that. So `llamacpp.try_file` loads a file first that was never
loaded here, and llama.cpp's own words are the reason of the error. A file that went well is
remembered by its place, size and times, as an empty file in the user's cache folder, and is not
tried again.

A file that is larger than the machine's memory, which workers may hold together, is loaded and not
evaluated: each evaluation would read all of it from the disk again.

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
import psutil

from aded_edge import private
from aded_edge.errors import AdapterError, ConfigError, ModelError
from aded_edge.llamacpp import try_file
from aded_edge.llamacpp.system import library_files
from aded_edge.llamacpp.weights import shards

log = logging.getLogger("aded_edge")

_SMALL = {"n_ctx": 64, "n_batch": 64, "n_ubatch": 64, "n_threads": 4, "n_threads_batch": 4}
"""Sizes that a file is tried with, at most."""

_NOT_TRIED = frozenset(
    {
        "chat_handler", "draft_model", "lora_base", "lora_path", "main_gpu", "n_gpu_layers",
        "offload_kqv", "op_offload", "seed", "split_mode", "tensor_split", "tokenizer", "use_mlock",
        "use_mmap", "verbose",
    }
)  # fmt: skip
"""Arguments of `Llama` that a file is tried without. It is tried on no device but the CPU."""

_HEAP_BYTES = 2 << 30
"""Memory that the process may use beside the weights, which it maps, and a LoRA adapter, which it
copies. Gemma's vocabulary of 262,000 tokens takes 0.1 GB of it."""

_SECONDS = 20
"""Seconds that the process may compute. Beside this, it may take a second for each SLOW bytes."""

_SLOW = 20_000_000

_LARGE = 500_000_000
"""Bytes of files whose first load is announced. It takes seconds; that of smaller ones does not,
and an error of theirs stays the only line that the command writes."""

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
        ConfigError: so it does with these arguments, and not with llama_cpp's defaults.
    """
    tried = {name: value for name, value in arguments.items() if _can_be_tried(name, value)}
    lora_path = arguments.get("lora_path")
    files = [*shards(Path(model_path)), *([Path(lora_path)] if lora_path else [])]
    files = [file for file in files if file.is_file()]
    mark = _mark(files, tried)
    if not sys.executable or os.path.exists(mark):  # Path.exists raises where it may not look
        return
    size = sum(file.stat().st_size for file in files)
    if size >= _LARGE:
        log.info("trying a new model file once, in a process of its own ...")
    seconds = _SECONDS + size // _SLOW
    output, code = _run(model_path, lora_path, tried, seconds)
    fault = _fault(output, code, seconds)
    if fault is None:
        if code == 0:
            with suppress(OSError):  # it is tried again then
                private.make_folder(mark.parent)
                private.make_file(mark)
        return
    reason, remedy = fault
    if reason == try_file.NO_ADAPTER:
        raise AdapterError(
            f"{lora_path} is no LoRA adapter for {model_path}; give the adapter that was trained "
            "for it, as a GGUF file"
        )
    both = f" with {lora_path}" if lora_path else ""
    sizes = {name: value for name, value in tried.items() if name in _SMALL}
    if sizes != tried and not _too_slow(code):
        output, code = _run(model_path, lora_path, sizes, seconds)
        if code == 0 and _fault(output, code, seconds) is None:
            others = [f"{name}={tried[name]!r:.60}" for name in sorted(tried.keys() - sizes)]
            raise ConfigError(
                f"llama.cpp cannot load {model_path}{both} with {', '.join(others)}: {reason}; "
                "without these arguments it can, so change them"
            )
    raise ModelError(f"llama.cpp cannot load {model_path}{both}: {reason}; {remedy}")


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
        "heap_bytes": _HEAP_BYTES + (os.path.getsize(lora_path) if lora_path else 0),
        "seconds": seconds,
        "evaluated": _bytes(model_path) <= psutil.virtual_memory().total,
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


def _bytes(model_path: str) -> int:
    return sum(file.stat().st_size for file in shards(Path(model_path)) if file.is_file())


def _fault(output: list[str], code: int | None, seconds: int) -> tuple[str, str] | None:
    """What is wrong with the file, and the remedy; None if nothing was found."""
    outcome = _outcome(output)
    if code == 0 and outcome is not None:
        return _refusal(output[:-1], outcome)
    if (not output and code == 1) or code in {-signal.SIGINT, -signal.SIGTERM}:
        return None
    if _too_slow(code):
        return f"its first load did not end after {seconds} seconds of computing", _DAMAGED
    if code == -getattr(signal, "SIGKILL", 1):
        return "its first load was ended by the system", "it may need more memory than there is"
    return f"it ends the process ({_last_words(output, code)})", _DAMAGED


def _too_slow(code: int | None) -> bool:
    return code in {None, -getattr(signal, "SIGXCPU", 1)}  # Windows has no negative status


def _outcome(output: list[str]) -> dict[str, str] | None:
    """What the process found. It tells more than a status of 0, which Python also reports of a
    process that died, if the program ignores SIGCHLD."""
    with suppress(IndexError, ValueError, RecursionError):
        outcome = json.loads(output[-1])
        if isinstance(outcome, dict):
            return outcome
    return None


def _refusal(output: list[str], outcome: dict[str, str]) -> tuple[str, str] | None:
    found, raised = outcome.get("found"), outcome.get("raised")
    if found:
        return found, _DAMAGED
    if raised in {"MemoryError", "UnicodeDecodeError"}:
        return outcome["text"] or raised, _DAMAGED
    if raised is None or not outcome["text"].startswith(_REFUSED):
        return None  # llama_cpp says the same here
    kinds = [kind[1] for line in output if (kind := _KIND.search(line))]
    remedy = "it may be cut short (fetch it again) or need a newer llama-cpp-python"
    remedy = next((_OTHER_KINDS[each] for each in kinds if each in _OTHER_KINDS), remedy)
    return _reason(output) or outcome["text"], remedy


def _reason(output: list[str]) -> str:
    """The first error of llama.cpp's log that is not about another device."""
    for line in output:
        if not line.startswith("ggml_") and not _KIND.search(line):
            return re.sub(r"^(\w+: )+(error loading model: )?", "", line)
    return ""


def _last_words(output: list[str], code: int | None) -> str:
    """An assertion that failed, an exception that nobody caught, or the signal."""
    for line in reversed(output):
        if "GGML_ASSERT" in line or ": fatal error" in line or "what():" in line:
            return re.sub(r"^\S*[/\\]", "", line.strip())
    if not code:
        return "without a word"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"status {code}"
