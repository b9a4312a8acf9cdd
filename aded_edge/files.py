"""Reading the texts of files and folders, and writing files and pictures.

Knows files and bytes. Does not know tokens, nor what a file is for.
"""

from __future__ import annotations

import importlib.util
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .errors import BenchError, ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT_BYTES = 1 << 19
"""A larger file is several texts, each known by its own content."""

_MOST_BROKEN = 0.1
"""A text with a larger share of undecodable characters is none."""

_NO_TEXT = frozenset((".pdf", ".ps", ".eps", ".rtf"))
"""Files that often look like text and hold instructions for a page."""

_PACKAGES = frozenset(("node_modules", "site-packages", "__pycache__"))
"""Folders of what others wrote, large enough to push the user's own texts out of the log."""

_NAMED = 3
"""Unreadable files named in the summary; the others are counted."""


class Found(NamedTuple):
    """A file to be read, and how large it seemed."""

    path: Path
    size: int


class Skipped:
    """Files and folders passed over, by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.unreadable: list[str] = []

    def failed(self, path: object, error: OSError) -> None:
        """Notes a file or folder that cannot be read."""
        self.unreadable.append(f"{path}: {error.strerror or error}")

    def __str__(self) -> str:
        reasons = [f"{count:,} {reason}" for reason, count in sorted(self.counts.items())]
        if self.unreadable:
            more = len(self.unreadable) - _NAMED
            names = self.unreadable[:_NAMED] + ([f"{more:,} more"] if more > 0 else [])
            reasons.append(f"{len(self.unreadable):,} unreadable ({'; '.join(names)})")
        return ", ".join(reasons)


def find(paths: Sequence[Path], skipped: Skipped) -> list[Found]:
    """All regular files, in the order given, folders sorted by name.

    Inside a folder what is hidden, other people's packages, and links to folders (which may lead
    in circles) are passed over; what is given by name is not.

    Raises:
        ConfigError: a path given does not exist, or cannot be reached.
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
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for somebody to write
        skipped.counts["no regular file"] += 1
    elif status.st_size == 0:
        skipped.counts["empty"] += 1
    elif path.suffix.lower() in _NO_TEXT:
        skipped.counts["no text"] += 1
    else:
        found.append(Found(path, status.st_size))


def texts(path: Path) -> Iterator[bytes]:
    """The texts of a file: the whole of it, or pieces of at most TEXT_BYTES that end a line.

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
    """Where a piece of at most `most` bytes from `start` on ends.

    At the end of the data, or behind a line; in a line that is too long, between characters.
    """
    if len(data) < start + most:
        return len(data)
    line = data.rfind(b"\n", start, start + most)
    if line >= 0:
        return line + 1
    end = start + most - 1
    while end > start + most - 4 and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


def readable(data: bytes) -> str | None:
    """The text that these bytes are, broken characters replaced; None if they are no text."""
    if b"\0" in data:
        return None
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    return text if text.count("\ufffd") <= _MOST_BROKEN * len(text) else None


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file as a whole: one of this name is replaced at once, or stays as it was.

    Folders are made if they are missing.

    Args:
        path: the file.
        pieces: its content, in order.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.writelines(pieces)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_picture(path: Path) -> None:
    """Checks that a picture can be drawn there, before hours go into what it is to show.

    Raises:
        BenchError: matplotlib is missing, or there is no such folder.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchError("a picture needs matplotlib: pip install 'aded-edge[plot]'")
    if not path.parent.is_dir():
        raise BenchError(f"cannot draw {path}: {path.parent} is no folder")


def save_picture(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Writes a figure of matplotlib as a PNG file.

    Raises:
        BenchError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=dpi, format="png")
    except OSError as error:
        raise BenchError(f"cannot draw {path}: {error}") from error
