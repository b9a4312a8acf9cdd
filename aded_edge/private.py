"""Files and folders that only their owner may read.

What the program keeps about its user is made with mode 0600, and its folders with 0700, whatever
the umask says. Files and folders that are older are tightened when they are used. On Windows the
user's folders are private already, and nothing is done here.

Knows modes and owners. Does not know what a file holds.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

FILE = 0o600
"""Mode of a private file."""

FOLDER = 0o700
"""Mode of a private folder."""

_OTHERS = 0o077
"""What a group and everybody else may do."""


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, for the owner alone.

    A folder that exists keeps its mode, unless it is one of the program's own (see `own_folders`).

    Raises:
        OSError: it cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(FOLDER, exist_ok=True)
    folder.mkdir(FOLDER, exist_ok=True)  # raises if a file is in its place
    own = own_folders()
    for one in (folder, *folder.parents):
        if one in own:
            tighten(one)


def own_folders() -> frozenset[Path]:
    """The program's folders among those of the user, and the folder of KV states."""
    folders = (
        platformdirs.user_data_dir,
        platformdirs.user_cache_dir,
        platformdirs.user_config_dir,
        platformdirs.user_state_dir,
    )
    found = {Path(folder("aded-edge", appauthor=False)) for folder in folders}
    return frozenset(found | {folder / "kv" for folder in found})


def tighten(path: Path) -> None:
    """Take the rights of everybody else from a file or folder that belongs to this user.

    The owner's own rights stay, so a read-only file stays readable and read-only.
    """
    if os.name != "posix":
        return
    with suppress(OSError):
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        usual = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)  # and no device
        if usual and mode & _OTHERS and status.st_uid == os.geteuid():
            path.chmod(mode & ~_OTHERS)


def make_file(path: Path) -> None:
    """Make an empty private file if there is none, and tighten one that exists.

    Raises:
        OSError: it cannot be made.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE))
    except FileExistsError:
        tighten(path)


def open_new(path: Path) -> BinaryIO:
    """Open a private file for writing; one that exists is emptied and tightened first.

    Raises:
        OSError: it cannot be opened.
    """
    tighten(path)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, FILE), "wb")
