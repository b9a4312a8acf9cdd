"""Which weights a file has: the identity of a GGUF, all of its shards, or a LoRA adapter.

Reads samples, because a digest of the whole file would take longer than loading it. A file that was
replaced while a process uses it: llama.cpp goes on with the old file if it was replaced as a whole
(as downloads do). The identity is that of the file when it was loaded, so it stays right too.

Knows files. Does not know what an identity is used for.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

SAMPLES = 64
"""Pieces of a file that are read, at equal distances; the first and the last are its ends."""

SAMPLE_BYTES = 4096

_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})\.gguf")


def weights_identity(path: str | os.PathLike[str]) -> list[tuple[int, int, str]]:
    """Size, time of change (ns) and digest of samples, for each shard of a model.

    Args:
        path: the file, or any shard of a split GGUF.

    Returns:
        One entry for each shard that exists, in their order.
    """
    return [_identity(file) for file in shards(Path(path)) if file.is_file()]


def shards(path: Path) -> list[Path]:
    """The files of a split GGUF, in their order, whether they exist or not; else the file alone."""
    split = _SHARD.fullmatch(path.name)
    if split is None:
        return [path]
    name, count = split.groups()
    return [path.with_name(f"{name}-{n:05}-of-{count}.gguf") for n in range(1, int(count) + 1)]


def _identity(path: Path) -> tuple[int, int, str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        last = max(about.st_size - SAMPLE_BYTES, 0)
        for number in range(SAMPLES):
            file.seek(last * number // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return about.st_size, about.st_mtime_ns, digest.hexdigest()
