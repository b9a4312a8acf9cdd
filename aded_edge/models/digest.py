"""The SHA-256 of a file.

Knows nothing about models. `hashlib.file_digest` does it from Python 3.11 on.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

_BLOCK = 1 << 20
"""Bytes to read at a time."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if sys.version_info >= (3, 11):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
        return digest.hexdigest()
