"""A store in a new folder, closed after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aded_edge.store import ModelParts, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path in folders that do not exist yet; `#`, `%` and `?` have a meaning in a URI."""
    return tmp_path / "user data" / "50% #1?é" / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """An open store."""
    with Store.open(path, busy_timeout=0.1) as opened:
        yield opened


@pytest.fixture
def model(store: Store) -> ModelParts:
    """A model in it."""
    return store.model("fingerprint", "a model")
