"""The process that a new model file is tried in: when it is begun, with what, and how it ends.

What it finds in damaged files is in test_first_load.py.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from aded_edge import AdapterError, ConfigError, Llama, ModelError
from aded_edge.runtime import first_load
from tests.gguf_damage import read
from tests.gguf_files import write_lora, write_tiny


@pytest.fixture
def own_copy(tmp_path, monkeypatch):
    """A model that was never loaded, and a cache folder that knows none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "own.gguf"
    write_tiny(path)
    return path


@pytest.fixture
def begun(monkeypatch):
    """One entry for each process that was begun."""
    begun, real = [], subprocess.Popen

    def popen(*arguments, **options):
        begun.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(first_load.subprocess, "Popen", popen)
    return begun


def opened(path, **options):
    Llama(
        str(path), **{"n_ctx": 64, "drafting": "off", "store": None, "verbose": False} | options
    ).close()


def test_a_file_is_tried_once_and_again_when_it_changed(own_copy, begun):
    for _ in range(3):
        opened(own_copy)
    assert len(begun) == 1
    opened(own_copy, n_ctx=128, n_threads=1, seed=3)  # sizes do not matter
    assert len(begun) == 1
    opened(own_copy, flash_attn=True)
    assert len(begun) == 2
    write_tiny(own_copy, seed=1)
    opened(own_copy)
    assert len(begun) == 3


def test_a_refused_file_is_tried_again(own_copy, begun):
    own_copy.write_bytes(own_copy.read_bytes()[:5000])
    for _ in range(2):
        with pytest.raises(ModelError, match="cut short"):
            opened(own_copy)
    assert len(begun) == 2


def test_what_is_remembered_is_private_and_empty(own_copy, tmp_path):
    opened(own_copy)
    (mark,) = (tmp_path / "cache" / "aded-edge" / "loaded").iterdir()
    assert mark.stat().st_size == 0
    assert mark.stat().st_mode & 0o777 == 0o600
    assert mark.parent.stat().st_mode & 0o777 == 0o700


def test_without_a_cache_folder_or_an_interpreter_models_are_loaded(
    own_copy, tmp_path, monkeypatch
):
    (tmp_path / "cache").write_text("a file in its place")
    opened(own_copy)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    opened(own_copy)
    monkeypatch.setattr(sys, "executable", "/bin/true")
    opened(own_copy)


def test_overrides_that_mend_a_file_are_tried_with_it(own_copy):
    header, length = read(whole := own_copy.read_bytes())
    key = "llama.attention.layer_norm_rms_epsilon"
    del header.values[key]
    own_copy.write_bytes(header.write() + whole[length:])
    with pytest.raises(ModelError, match=key):
        opened(own_copy)
    opened(own_copy, kv_overrides={key: 1e-5})


def test_the_vocabulary_alone_can_be_loaded(own_copy):
    header, _ = read(own_copy.read_bytes())
    header.tensors.clear()
    own_copy.write_bytes(header.write())
    opened(own_copy, vocab_only=True)


def test_an_interruption_ends_both(own_copy, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    begun, real = [], subprocess.Popen

    def popen(*arguments, **options):
        begun.append(real(*arguments, **options))
        begun[0].communicate = interrupted
        return begun[0]

    monkeypatch.setattr(first_load.subprocess, "Popen", popen)
    with pytest.raises(KeyboardInterrupt):
        opened(own_copy)
    assert begun[0].returncode is not None


def settings_of(process):
    return json.loads(process[0][-1])


@pytest.mark.parametrize(("more", "announced"), [(0, 1), (1, 0)])
def test_the_first_load_of_a_large_file_is_announced(
    own_copy, caplog, monkeypatch, more, announced
):
    monkeypatch.setattr(first_load, "_LARGE", own_copy.stat().st_size + more)
    with caplog.at_level(logging.INFO, "aded_edge"):
        opened(own_copy)
        opened(own_copy)
    assert sum("trying a new model file once" in line for line in caplog.messages) == announced


@pytest.mark.parametrize("executable", [None, ""])
def test_a_program_that_embeds_python_loads_models(own_copy, begun, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    opened(own_copy)
    assert not begun


def test_a_cache_folder_that_may_not_be_searched_is_as_none(own_copy, tmp_path, monkeypatch):
    """The tests may run as root, who may search all; so the system is replaced."""
    real = os.stat

    def stat(path, *arguments, **options):
        if str(path).startswith(str(tmp_path / "cache")):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    opened(own_copy)


# How it ends.


@pytest.fixture
def children_ignored():
    """As some servers do; the system reports no child's end then, and Python says 0."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="Windows reports every end")
@pytest.mark.usefixtures("children_ignored")
def test_where_no_end_is_reported_the_last_line_tells(own_copy, begun):
    opened(own_copy)
    opened(own_copy)
    assert len(begun) == 1, "it went well, and is remembered"
    damage(own_copy, "block_count", 4, 1000)
    with pytest.raises(ModelError, match="ends the process .*LLAMA_MAX_LAYERS"):
        opened(own_copy)


@pytest.mark.parametrize("lines", [[], ["[1]"], ["3"], ["[" * 900], ['{"found": nu']])
def test_a_process_without_an_outcome_did_not_go_well(lines):
    reason, _ = first_load._fault(lines, 0, 20)
    assert "ends the process" in reason


def damage(path, key, kind, content):
    header, length = read(whole := path.read_bytes())
    header.set(key, kind, content)
    path.write_bytes(header.write() + whole[length:])


# Arguments of the user.


@pytest.mark.parametrize(
    "options",
    [
        {"split_mode": 3, "flash_attn": True},
        {"main_gpu": 1},
        {"offload_kqv": False},
        {"op_offload": True},
    ],
)
def test_arguments_about_devices_are_no_fault_of_the_file(own_copy, begun, options):
    first_load.check_first_load(str(own_copy), options)
    assert len(begun) == 1
    assert settings_of(*begun)["arguments"].keys().isdisjoint(options.keys() - {"flash_attn"})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"type_v": 2}, "quantized V cache requires flash_attn"),
        ({"type_k": 99}, "ends the process"),
        ({"kv_overrides": {"llama.block_count": 1000}}, "LLAMA_MAX_LAYERS"),
    ],
)
def test_an_argument_that_cannot_be_is_not_blamed_on_the_file(own_copy, options, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        opened(own_copy, **options)
    text = str(error.value)
    assert all(f"{name}={value}" in text for name, value in options.items())
    assert "change" in text
    assert "damaged" not in text
    assert "fetch" not in text


def test_a_damaged_file_is_blamed_whatever_the_arguments_are(own_copy, begun):
    damage(own_copy, "block_count", 4, 1000)
    with pytest.raises(ModelError, match="damaged"):
        opened(own_copy, flash_attn=True)
    assert len(begun) == 2


# What it may use.


def test_an_adapter_may_be_as_large_as_it_is(own_copy, tmp_path, begun):
    """llama.cpp maps a model, and copies an adapter."""
    adapter = tmp_path / "adapter.gguf"
    write_lora(adapter)
    opened(own_copy)
    opened(own_copy, lora_path=str(adapter))
    without, with_it = (settings_of(each)["heap_bytes"] for each in begun)
    assert with_it - without == adapter.stat().st_size


def test_a_model_larger_than_the_memory_is_loaded_and_not_evaluated(own_copy, monkeypatch):
    """Workers hold it together; here, its evaluation would read all of it from the disk."""
    damage(own_copy, "attention.layer_norm_rms_epsilon", 6, float("nan"))
    with pytest.raises(ModelError, match="eps >= 0"):
        first_load.check_first_load(str(own_copy), {})
    memory = SimpleNamespace(total=own_copy.stat().st_size - 1)
    monkeypatch.setattr(first_load.psutil, "virtual_memory", lambda: memory)
    with pytest.raises(AdapterError):
        first_load.check_first_load(str(own_copy), {"lora_path": str(own_copy)})
    first_load.check_first_load(str(own_copy), {})
    damage(own_copy, "block_count", 4, 1000)
    with pytest.raises(ModelError, match="ends the process"):
        first_load.check_first_load(str(own_copy), {})
