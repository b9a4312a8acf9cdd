"""Result files.

Knows where a result can be written, and how it becomes JSON. Does not know what is in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aded_edge.errors import BenchError
from aded_edge.files import write_whole


def check_folder(path: Path) -> None:
    """Check that a file can be written to an existing folder, before a run that takes long.

    Raises:
        BenchError: there is no such folder.
    """
    if not path.parent.is_dir():
        raise BenchError(f"cannot write {path}: {path.parent} is not a folder; make it first")


def save_result(result: dict[str, Any], path: Path) -> None:
    """Write a result as JSON, replacing an existing file as a whole.

    If this fails or is interrupted, the existing file stays as it was. Missing folders are made.

    Raises:
        BenchError: the file cannot be written.
    """
    try:
        write_whole(path, [(json.dumps(result, indent=1) + "\n").encode()])
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}") from error
