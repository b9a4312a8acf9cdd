"""Store operations that may fail without stopping the program."""

from __future__ import annotations

import logging

import pytest

from aded_edge.errors import StoreError
from aded_edge.store import WarnOnce


def test_each_fault_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(reason: str) -> None:
        raise StoreError(reason)

    attempt = WarnOnce("the matrix")
    with caplog.at_level(logging.WARNING, "aded_edge"):
        for reason in ("locked", "full", "locked"):
            assert attempt(lambda reason=reason: fail(reason)) is None  # type: ignore[misc]
    assert caplog.messages == [
        "locked; going on without the matrix",
        "full; going on without the matrix",
    ]


def test_only_faults_of_the_store_are_caught() -> None:
    attempt = WarnOnce("it")
    assert attempt(lambda: "result") == "result"
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 / 0)
