"""Finding and reading texts, writing whole files, and saving pictures.

Helpers of several rooms. Knows files and bytes. Does not know tokens, nor what a file is for.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib.util
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import private
from .errors import BenchError, ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT_BYTES = 1 << 19
"""A larger file is read as several texts of at most this many bytes."""

_MOST_BROKEN = 0.1
"""A file with a larger share of undecodable characters is no text."""

_NO_TEXT = frozenset((".pdf", ".ps", ".eps", ".rtf"))
"""Endings of files that often decode as text but contain instructions for a page."""

_PACKAGES = frozenset(("node_modules", "site-packages", "__pycache__"))
"""Folders with other people's packages: large enough to displace the user's own texts."""

_NAMED = 3
"""The most unreadable files named in the summary; the others are counted."""

_UTF8_BYTES = 4
"""The most bytes of one character in UTF-8."""

_UTF8_CONTINUES = range(0x80, 0xC0)
"""In UTF-8, no character begins with one of these bytes."""


# --- finding ------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A file to be read, and its size in bytes when it was found."""

    path: Path
    size: int


class Skipped:
    """Files and folders that were skipped.

    `str()` is a summary for the user, "" if nothing was skipped.

    Attributes:
        counts: how many were skipped, by reason.
        unreadable: path and error of those that could not be read.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.unreadable: list[str] = []

    def failed(self, path: object, error: OSError) -> None:
        """Record a file or folder that cannot be read."""
        self.unreadable.append(f"{path}: {error.strerror or error}")

    def __str__(self) -> str:
        reasons = [f"{count:,} {reason}" for reason, count in sorted(self.counts.items())]
        if self.unreadable:
            more = len(self.unreadable) - _NAMED
            names = self.unreadable[:_NAMED] + ([f"{more:,} more"] if more > 0 else [])
            reasons.append(f"{len(self.unreadable):,} unreadable ({'; '.join(names)})")
        return ", ".join(reasons)


def find(paths: Sequence[Path], skipped: Skipped) -> list[Found]:
    """List files to be read, in the order of the paths; the files of a folder sorted by name.

    In a folder, hidden files, packages and links to folders (which may form circles) are skipped.
    Hidden files and packages that are given as a path are read.

    Args:
        paths: files and folders.
        skipped: gets what was skipped.

    Raises:
        ConfigError: a path does not exist or cannot be read.
    """
    found: list[Found] = []
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read ({error.strerror}); give files or folders that hold text"
            ) from error
        for file in _walk(path, skipped) if is_folder else [path]:
            _look_at(file, found, skipped)
    return found


def _walk(folder: Path, skipped: Skipped) -> Iterator[Path]:
    def failed(error: OSError) -> None:
        skipped.failed(error.filename, error)

    for where, folders, files in os.walk(folder, onerror=failed):
        for names in (folders, files):
            kept = [name for name in names if not name.startswith(".") and name not in _PACKAGES]
            if len(kept) < len(names):
                skipped.counts["hidden or packages"] += len(names) - len(kept)
            names[:] = sorted(kept)
        yield from (Path(where, name) for name in files)


def _look_at(path: Path, found: list[Found], skipped: Skipped) -> None:
    try:
        status = path.stat()
    except OSError as error:
        skipped.failed(path, error)
        return
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
        skipped.counts["no regular file"] += 1
    elif status.st_size == 0:
        skipped.counts["empty"] += 1
    elif path.suffix.lower() in _NO_TEXT:
        skipped.counts["no text"] += 1
    else:
        found.append(Found(path, status.st_size))


# --- reading ------------------------------------------------------------------------------------


def texts(path: Path) -> Iterator[bytes]:
    """Read a file as texts: the whole file, or pieces of at most TEXT_BYTES that end with a line.

    Raises:
        OSError: the file cannot be read.
    """
    rest = b""
    with path.open("rb") as file:
        while data := rest + file.read(TEXT_BYTES - len(rest)):
            end = cut(data, 0, TEXT_BYTES)
            yield data[:end]
            rest = data[end:]


def cut(data: bytes, start: int, most: int) -> int:
    """Find the end of the piece of a text that begins at `start`.

    Args:
        data: the text, in UTF-8.
        start: offset of the piece in bytes.
        most: the most bytes that the piece may have.

    Returns:
        The end of the data if it fits, else the end of a line. A line that is longer than `most`
        is cut between two characters.
    """
    if len(data) < start + most:
        return len(data)
    line = data.rfind(b"\n", start, start + most)
    if line >= 0:
        return line + 1
    end = start + most - 1
    while end > start + most - _UTF8_BYTES and data[end] in _UTF8_CONTINUES:
        end -= 1
    return end


def readable(data: bytes) -> str | None:
    """Decode bytes as UTF-8, or as UTF-16 if they begin with its byte order mark.

    Returns:
        The text, with undecodable bytes replaced by U+FFFD; None if the bytes are no text.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        with contextlib.suppress(UnicodeDecodeError):
            text = data.decode("utf-16")
            return None if "\0" in text else text
    if b"\0" in data:
        return None
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    return text if text.count("\ufffd") <= _MOST_BROKEN * len(text) else None


# --- writing ------------------------------------------------------------------------------------


def write_whole(path: Path, pieces: Iterable[bytes], *, keep_private: bool = False) -> None:
    """Write a file completely or not at all; an existing file is replaced in one step.

    Missing folders are created. The content goes to a temporary file first. A link is followed; a
    device or a pipe is written to directly. A new file is private; one that exists keeps its mode,
    because the user may have chosen it.

    Args:
        path: the file.
        pieces: its content, in order.
        keep_private: an existing file is made private too.

    Raises:
        OSError: the file cannot be written; an existing one is unchanged.
    """
    path = path.resolve()
    private.make_folder(path.parent)
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as file:
            file.writelines(pieces)
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with private.open_new(part) as file:
            file.writelines(pieces)
        if path.exists() and not keep_private:
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_picture(path: Path) -> None:
    """Check that a picture can be drawn, before the measurements for it take hours.

    Raises:
        BenchError: matplotlib is not installed, or the folder of `path` does not exist.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchError("a picture needs matplotlib; run 'pip install matplotlib'")
    if not path.parent.is_dir():
        raise BenchError(f"cannot draw {path}: {path.parent} is no folder")


def save_picture(figure: Figure, path: Path, dpi: int) -> None:
    """Save a figure of matplotlib as a PNG file.

    Raises:
        BenchError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=dpi, format="png")
    except OSError as error:
        raise BenchError(f"cannot draw {path}: {error.strerror or error}") from error
