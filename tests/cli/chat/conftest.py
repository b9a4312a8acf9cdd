"""What the tests of the chat share: its command line, and what llama_cpp answers."""

import os
import subprocess
import sys

import llama_cpp
import pytest

PATIENCE = 240
"""Seconds after which a chat that says nothing has hung."""


@pytest.fixture(scope="module")
def command(model_path, tmp_path_factory):
    """(options) -> a command line that always says the same."""
    # One store, so that costs are measured and exactness is proved once.
    store = tmp_path_factory.mktemp("store") / "store.db"
    fixed = ["--threads", "1", "--gpu-layers", "0", "--ctx", "512", "--temperature", "0"]
    # What is recalled of earlier conversations would change the answers.
    fixed += ["--store", str(store), "--memory-tokens", "0"]

    def command(*options, model=model_path):
        # In llama.cpp's default build a draft may change the last bits, and so the answer.
        exact = [] if "paper" in options else ["--exact"]
        return [sys.executable, "-m", "aded_edge.chat", str(model), *fixed, *exact, *options]

    return command


@pytest.fixture(scope="module")
def chat(command):
    """Runs a chat without a terminal."""

    def chat(*options, text=None, environment=None, **changes):
        return subprocess.run(
            command(*options, **changes),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            timeout=PATIENCE,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )

    return chat


@pytest.fixture(scope="module")
def plain(model_path, settings):
    """llama_cpp's own Llama with the settings of the chat, which has no flash attention."""
    llama = llama_cpp.Llama(str(model_path), **{**settings, "flash_attn": False})
    yield llama
    llama.close()


@pytest.fixture(scope="module")
def expected(plain):
    """(messages, max_tokens) -> the answer of llama_cpp."""

    def expected(*messages, max_tokens=24):
        roles = ("user", "assistant")
        output = plain.create_chat_completion(
            [{"role": roles[i % 2], "content": text} for i, text in enumerate(messages)],
            temperature=0.0,
            max_tokens=max_tokens,
        )
        return output["choices"][0]["message"]["content"]

    return expected
