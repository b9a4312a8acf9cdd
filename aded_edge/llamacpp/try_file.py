"""A program that loads a model file and evaluates a few tokens; a file that ends it harms no other.

`runtime.first_load` runs it by its path, in a process of its own. llama.cpp checks much of a file
by assertions that end the process, in a hundred architectures; so a damaged file is recognised by
trying it. The process may use little memory and little time.

It writes lines to stdout: BEGUN, then what llama.cpp reports as errors, then the outcome as JSON.
Imports only llama_cpp and the standard library, because importing the package takes a second.

Knows llama_cpp's constructor. Does not know why a file is tried, or what is said about it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from typing import Any

BEGUN = "aded-edge: begun"
"""First line of stdout: llama_cpp could be imported, so whatever follows is about the file."""

TEXT = "The quick brown fox, 1 + 2 = 3.\n"
"""What is evaluated: ordinary text, so that no sound model overflows."""

NO_ADAPTER = "it is no LoRA adapter for this model"
"""What is found of a LoRA adapter that llama.cpp refuses. llama_cpp would go on, and crash."""

_EVALUATED = 4
"""Tokens of it that are evaluated: one alone, and the others together."""

_KIND = re.compile(rb" general\.(type|architecture) ")

_MOST_LOGGED = 40
"""Lines of llama.cpp's log that are passed on, at most."""

_ERROR = 4
"""llama.cpp's level of errors in its log."""


def main() -> None:
    """Read the settings (JSON, see `first_load`) from the command line and try the file."""
    settings = json.loads(sys.argv[1])
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (llama_cpp prints all metadata there)
    import llama_cpp

    _limit(settings["heap_bytes"], settings["seconds"])
    _say(BEGUN)
    callback = _log_to_stdout(llama_cpp)
    try:
        arguments, lora_path = settings["arguments"], settings["lora_path"]
        outcome = {"found": _try(llama_cpp, arguments, lora_path, evaluated=settings["evaluated"])}
    except Exception as error:
        outcome = {"raised": type(error).__name__, "text": str(error)[:1000]}
    _say(json.dumps(outcome))
    del callback
    os._exit(0)  # nothing is left to do, and freeing a model takes time


def _limit(heap_bytes: int, seconds: int) -> None:
    if os.name != "posix":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    if sys.platform == "linux":  # elsewhere the limit is not kept, or counts mapped files
        resource.setrlimit(resource.RLIMIT_DATA, (heap_bytes, heap_bytes))


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _log_to_stdout(llama_cpp: Any) -> Any:
    """Pass on llama.cpp's errors and what kind of file it is, each in one line.

    Returns:
        What must be kept alive.
    """
    left = [_MOST_LOGGED]

    def log(level: int, text: bytes, _: Any) -> None:
        if (level == _ERROR or _KIND.search(text)) and left[0]:
            left[0] -= 1
            line = " ".join(text.decode("utf-8", "replace").split())
            _say(line[:1000])

    callback = llama_cpp.llama_log_callback(log)
    llama_cpp.llama_log_set(callback, None)
    return callback


def _try(
    llama_cpp: Any, arguments: dict[str, Any], lora_path: str | None, *, evaluated: bool
) -> str | None:
    """Return what is wrong with the file, None if nothing was found.

    Args:
        llama_cpp: the package.
        arguments: of its constructor.
        lora_path: a LoRA adapter; None for none.
        evaluated: whether tokens are evaluated too.
    """
    _without_other_devices(llama_cpp.llama_cpp)
    llama = llama_cpp.Llama(**arguments)
    tokens = llama.tokenize(TEXT.encode(), special=True)
    llama.detokenize(tokens)
    if arguments.get("vocab_only"):
        return None
    if lora_path is not None and not _adapted(llama_cpp, llama, lora_path):
        return NO_ADAPTER
    if not evaluated:
        return _template(llama_cpp, llama)
    tokens = tokens[: min(llama.n_batch, _EVALUATED)] or [0]
    if llama_cpp.llama_model_has_encoder(llama.model):
        llama._batch.set_batch(batch=tokens, n_past=0, logits_all=True)
        llama._ctx.encode(llama._batch)
        tokens = [max(llama_cpp.llama_model_decoder_start_token(llama.model), 0)]
        if not llama_cpp.llama_model_has_decoder(llama.model):
            return None
    if llama._ctx.memory is None:
        llama._batch.set_batch(batch=tokens, n_past=0, logits_all=True)
        llama._ctx.decode(llama._batch)
        return None
    llama.eval(tokens[:1])
    if tokens[1:]:
        llama.eval(tokens[1:])
    return _no_numbers(llama_cpp, llama) or _template(llama_cpp, llama)


def _adapted(llama_cpp: Any, llama: Any, lora_path: str) -> bool:
    adapter = llama_cpp.llama_adapter_lora_init(llama.model, lora_path.encode())
    if adapter:
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapter)
        llama_cpp.llama_set_adapters_lora(llama.ctx, adapters, 1, (llama_cpp.ctypes.c_float * 1)(1))
    return bool(adapter)


def _without_other_devices(api: Any) -> None:
    """Load on the CPU and as the file is: it takes less time, and no memory of a card."""
    default = api.llama_model_default_params
    none = (api.ctypes.c_void_p * 1)()

    def plain() -> Any:
        params = default()
        params.devices = api.ctypes.addressof(none)
        params.use_extra_bufts = False
        return params

    api.llama_model_default_params = plain


def _no_numbers(llama_cpp: Any, llama: Any) -> str | None:
    logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
    if not logits or any(value - value == 0 for value in logits[: llama.n_vocab()]):
        return None
    return "its logits are no numbers"


def _template(llama_cpp: Any, llama: Any) -> str | None:
    """Write a question with the chat template, which may take any memory and time."""
    template = llama.metadata.get("tokenizer.chat_template")
    if template:
        form = llama_cpp.llama_chat_format.Jinja2ChatFormatter(
            template=template, eos_token="", bos_token=""
        )
        try:
            form(messages=[{"role": "user", "content": "?"}])
        except (MemoryError, RecursionError):
            return "its chat template has no end"
        except Exception:  # it may refuse this question; the first answer reports it
            return None
    return None


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
