"""Assistants on a store of their own."""

import contextlib

import pytest

from aded_edge.assistant import Assistant


@pytest.fixture
def open_assistant(tiny_settings, tmp_path, monkeypatch):
    """(**changes) -> an assistant on the tiny model, closed after the test."""
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.0)
    with contextlib.ExitStack() as stack:

        def open_(**changes):
            loading = {k: v for k, v in tiny_settings.items() if k != "model_path"}
            options = {
                "model": tiny_settings["model_path"],
                "store": tmp_path / "store.db",
                "kv_folder": tmp_path / "kv",
                "sampling": {"temperature": 0.0, "max_tokens": 24},
                **loading,
                **changes,
            }
            return stack.enter_context(Assistant(**options))

        yield open_


@pytest.fixture
def assistant(open_assistant):
    """One of them."""
    return open_assistant()


@pytest.fixture
def say():
    """(assistant, text) -> the whole answer."""
    return lambda assistant, text: "".join(assistant.ask(text))
