"""Assistants on the tiny model, each test with its own store."""

import contextlib

import pytest

from aded_edge.assistant import Assistant


@pytest.fixture
def open_assistant(tiny_settings, tmp_path, monkeypatch):
    """A function (**changes) that opens an assistant, which is closed after the test."""
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.3)
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
    """An open assistant."""
    return open_assistant()


@pytest.fixture
def say():
    """A function (assistant, text) that asks and returns the whole answer."""
    return lambda assistant, text: "".join(assistant.ask(text))
