"""The options of aded-edge: what is refused, and one default for threads everywhere."""

import json
import os

import psutil
import pytest
from click.testing import CliRunner

from aded_edge import Assistant, ConfigError, Llama
from aded_edge.cli.main import cli
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.llamacpp.fingerprint import cost_conditions
from aded_edge.runtime.options import default_threads, with_default_threads


@pytest.mark.parametrize("value", ["on", "", None, True, 1, ["auto"]])
def test_an_unknown_drafting_names_the_choices(tiny_path, value):
    with pytest.raises(ConfigError, match=r"'auto', 'off', 'paper'"):
        Llama(tiny_path, drafting=value)


@pytest.mark.parametrize("value", [True, 1, b"store.db", ["a"]])
def test_an_unknown_store_names_the_choices(tiny_path, value):
    with pytest.raises(ConfigError, match="neither a path, nor 'default', nor None"):
        Llama(tiny_path, store=value)


@pytest.mark.parametrize(
    ("physical", "allowed", "threads"), [(4, 8, 4), (4, 2, 2), (None, 3, 3), (1, 2, 1)]
)
def test_threads_are_the_physical_cores_that_the_process_may_use(
    monkeypatch, physical, allowed, threads
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8 if logical else physical)
    assert default_threads() == threads


def test_only_missing_numbers_of_threads_are_filled_in():
    default = default_threads()
    both = {"n_threads": default, "n_threads_batch": default}
    assert with_default_threads({}) == both
    assert with_default_threads({"n_threads": None, "n_threads_batch": None}) == both
    assert with_default_threads({"n_ctx": 8}) == {"n_ctx": 8, **both}
    assert with_default_threads({"n_threads": 7}) == {"n_threads": 7}
    assert with_default_threads({"n_threads_batch": 7}) == {**both, "n_threads_batch": 7}
    given = {"n_threads": 0, "n_threads_batch": 0}
    assert with_default_threads(given) == given


def test_an_explicit_number_of_threads_is_passed_on(tiny_path):
    arguments = {"n_ctx": 64, "drafting": "off", "store": None, "verbose": False}
    with Llama(tiny_path, n_threads=1, **arguments) as llama:
        conditions = cost_conditions(llama)
    assert (conditions["n_threads"], conditions["n_threads_batch"]) == (1, os.cpu_count())


@pytest.fixture
def opened_with(monkeypatch):
    """[(n_threads, n_threads_batch)] of all models whose cost curve was looked up."""
    opened_with = []

    def look_up(llama, target, persistence):
        conditions = cost_conditions(llama)
        opened_with.append((conditions["n_threads"], conditions["n_threads_batch"]))
        return CostCurve(dict.fromkeys((1, 2, 4), 1.0))

    monkeypatch.setattr("aded_edge.runtime.building.load_or_measure", look_up)
    return opened_with


@pytest.mark.parametrize("opener", ["Llama", "Assistant", "doctor", "bench"])
def test_everything_that_opens_a_model_uses_the_same_threads(
    tiny_path, tmp_path, monkeypatch, opened_with, opener
):
    """With one core allowed, llama_cpp's default (all cores of the machine) is another number."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    prompts, model = tmp_path / "prompts.jsonl", str(tiny_path)
    prompts.write_text(json.dumps({"question_id": 1, "category": "a", "turns": ["Hello"]}))
    bench = ["bench", "speed", model, "--prompts", str(prompts), "--visits", "1"]
    commands = {
        "doctor": ["doctor", model, "--store", "none"],
        "bench": [*bench, "--max-tokens", "2", "--decoders", "auto"],
    }
    if opener in commands:
        result = CliRunner().invoke(cli, commands[opener], catch_exceptions=False)
        assert result.exit_code == 0
    elif opener == "Assistant":
        with Assistant(model, store=None, kv_folder=tmp_path):
            pass
    else:
        Llama(model, store=None, verbose=False).close()
    assert opened_with == [(default_threads(), default_threads())]
