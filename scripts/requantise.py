#!/usr/bin/env python3
"""Write a model's weights in another quantisation, with llama.cpp's `llama_model_quantize`.

`python -m aded_edge doctor` says for which models that pays. The new file gets its name only when
it is whole.

Knows llama.cpp's quantiser and its log. Does not know how fast a quantisation is or how well it
answers.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    import click
    import llama_cpp
    from rich.filesize import decimal
    from tqdm import tqdm

    from aded_edge.cli.main import guarded
    from aded_edge.errors import ConfigError, ModelError
    from aded_edge.runtime.options import default_threads
except ModuleNotFoundError as error:
    sys.exit(f"aded-edge: {sys.executable} lacks {error.name}: run scripts/chat, which sets up all")

_PREFIX = "LLAMA_FTYPE_MOSTLY_"

TYPES = {
    name.removeprefix(_PREFIX): int(value)
    for name, value in vars(llama_cpp).items()
    if name.startswith(_PREFIX)
}
"""llama.cpp's number of each quantisation, by name."""


class _Log:
    """Reads llama.cpp's log: shows a progress bar of tensors, and keeps the reason of a failure."""

    def __init__(self) -> None:
        self.reason = "llama.cpp gives no reason"
        self._bar = tqdm(unit="tensor", leave=False, disable=None)

    def __call__(self, level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace")
        tensor = re.match(r"\[ *(\d+)/ *(\d+)\]", line)
        if tensor:
            self._bar.total = int(tensor[2])
            self._bar.update(int(tensor[1]) - self._bar.n)
        failure = re.search(r"failed to quantize: (.*)", line)
        if failure:
            self.reason = failure[1].strip()

    def close(self) -> None:
        """Close the progress bar."""
        self._bar.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--type", "kind", default="Q4_0", show_default=True, help="llama.cpp's name of it.")
@click.option("--threads", type=click.IntRange(1), help="Default: physical cores.")
def requantise(model: Path, out: Path, kind: str, threads: int | None) -> None:
    """Write MODEL's weights to OUT in another quantisation.

    The model's answers change slightly. Start from its F16 or Q8_0 file if there is one: the
    fewer bits MODEL has, the more is lost.
    """
    if kind.upper() not in TYPES:
        raise ConfigError(f"no quantisation {kind!r}; known: {', '.join(TYPES)}")
    _check_files(model, out)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = TYPES[kind.upper()]
    params.nthread = threads or default_threads()
    params.allow_requantize = True
    click.echo(f"{model} becomes {kind.upper()} ...", err=True)
    _write(model, out, params)
    before, after = model.stat().st_size, out.stat().st_size
    click.echo(f"written to {out}: {decimal(after)}, from {decimal(before)}")


def _check_files(model: Path, out: Path) -> None:
    try:
        with model.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{model} cannot be read: {error.strerror}") from error
    if magic != b"GGUF":
        raise ModelError(f"{model} is no GGUF file")
    if out.exists():
        raise ConfigError(f"{out} exists already; delete it, or give another name")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent} is no folder; create it first")


def _write(model: Path, out: Path, params: llama_cpp.llama_model_quantize_params) -> None:
    try:
        folder = Path(tempfile.mkdtemp(".partial", f"{out.name}.", out.parent))
    except OSError as error:
        raise ConfigError(f"cannot write to {out.parent}: {error.strerror}") from error
    part = folder / out.name
    log = _Log()
    callback = llama_cpp.llama_log_callback(log)  # in a variable: llama.cpp keeps no reference
    llama_cpp.llama_log_set(callback, None)
    status: list[int] = []

    def work() -> None:
        source, target = os.fsencode(model), os.fsencode(part)
        status.append(llama_cpp.llama_model_quantize(source, target, params))

    try:
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join()
        log.close()
        if status != [0]:
            raise ModelError(f"{model} cannot be quantised: {log.reason}")
        os.replace(part, out)
    except KeyboardInterrupt:
        # llama.cpp cannot be told to stop, and its thread would crash if Python shut down normally.
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(130)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(guarded(requantise))
