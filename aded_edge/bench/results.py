"""Results as JSON files.

Knows how a result is written. Does not know what is in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aded_edge.errors import BenchError
from aded_edge.files import write_whole


def save_result(result: dict[str, Any], path: Path) -> None:
    """Write a result as JSON, replacing an existing file as a whole.

    If this fails or is interrupted, the existing file stays as it was.

    Raises:
        BenchError: the file cannot be written.
    """
    try:
        write_whole(path, [(json.dumps(result, indent=1) + "\n").encode()])
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error}") from error
