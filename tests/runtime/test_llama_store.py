"""What a model learned, from process to process."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from aded_edge.decode.cost_curve import CostCurve
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.store import Store
from tests.runtime.helpers import (
    ASKED,
    OTHER,
    STORY,
    command,
    finished,
    in_a_process,
    take,
    tokenized,
)

ANSWER = """
    path, store, count, *prompts = sys.argv[1:]
    with load(path, store=store) as llama:
        for prompt in map(json.loads, prompts):
            stream = llama.generate(prompt, temp=0.0)
            tokens = list(itertools.islice(stream, int(count)))
            stream.close()
            print(json.dumps([tokens, llama.stats.mat]), flush=True)
"""


def answers(process):
    return [json.loads(line) for line in finished(process).splitlines()]


def kept(path, llama):
    """(number of parts, tokens of their logs) that a store holds about a model."""
    with Store.open(path) as store:
        parts, _ = store.model(model_fingerprint(llama), "").load()
        assert store.warnings == ()
    return len(parts), [token for part in parts for token in part.tokens.tolist()]


def holds(logs, tokens):
    return f" {' '.join(map(str, tokens))} " in f" {' '.join(map(str, logs))} "


def test_the_next_process_drafts_better_and_says_the_same(model_path, tmp_path, truth, plain):
    """The model is known by its fingerprint, so its file may have another path."""
    elsewhere = tmp_path / "a copy.gguf"
    try:
        os.link(model_path.resolve(), elsewhere)
    except OSError:
        shutil.copy(model_path, elsewhere)
    store, prompt = tmp_path / "store.db", tokenized(plain, STORY)
    ((first, cold),) = answers(in_a_process(ANSWER, model_path, store, 40, prompt))
    ((second, warm),) = answers(in_a_process(ANSWER, elsewhere, store, 40, prompt))
    assert first == second == truth(STORY, 40)
    assert cold < 3
    assert warm > 5  # the first drafts of a process are short, until steps confirm what rows cost


@pytest.mark.parametrize("drafting", ["auto", "paper"])
def test_what_one_model_learned_the_next_one_knows(
    load_tiny, tmp_path, tiny_truth, monkeypatch, drafting
):
    monkeypatch.setattr("aded_edge.runtime.costs.measure_first", lambda *_: flat_costs())
    mats = []
    for _ in range(2):
        with load_tiny(drafting=drafting, store=tmp_path / "store.db") as llama:
            assert take(llama, ASKED, 40) == tiny_truth(ASKED, 40)
            mats.append(llama.stats.mat)
    assert mats[0] < 1.5
    assert mats[1] > 3


def flat_costs():
    return CostCurve(dict.fromkeys((1, 2, 4, 8, 16), 1.0))


def test_two_processes_at_once_lose_nothing(tiny_path, tmp_path, tiny_plain, tiny_truth):
    store, done = tmp_path / "store.db", {}
    prompts = [[1, 60 + number, 90 - number] for number in range(12)]

    def work(number):
        half = [json.dumps(prompt) for prompt in prompts[number::2]]
        done[number] = in_a_process(ANSWER, tiny_path, store, 20, *half)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (0, 1):
        said = [tokens for tokens, _ in answers(done[number])]
        assert said == [tiny_truth(prompt, 20) for prompt in prompts[number::2]]
        assert done[number].stderr == ""
    parts, logs = kept(store, tiny_plain)
    assert parts == len(prompts)
    for prompt in prompts:
        assert holds(logs, prompt[1:] + tiny_truth(prompt, 20))


def test_a_killed_process_loses_no_earlier_turn(tiny_path, tmp_path, tiny_plain, tiny_truth):
    script = """
        llama = load(sys.argv[1], store=sys.argv[2])
        for prompt in map(json.loads, sys.argv[3:]):
            stream = llama.generate(prompt, temp=0.0)
            for _ in range(20):
                next(stream)
            if prompt == json.loads(sys.argv[3]):
                stream.close()
        print("in the middle", flush=True)
        sys.stdin.read()
    """
    store = tmp_path / "store.db"
    process = subprocess.Popen(
        command(script, tiny_path, store, ASKED, OTHER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "in the middle\n"
        for _ in range(300):  # saving runs in the background
            if kept(store, tiny_plain)[0]:
                break
            time.sleep(0.1)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with contextlib.closing(sqlite3.connect(store)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    parts, logs = kept(store, tiny_plain)
    assert parts == 1
    assert holds(logs, ASKED[1:] + tiny_truth(ASKED, 20))
    ((tokens, mat),) = answers(in_a_process(ANSWER, tiny_path, store, 20, ASKED))
    assert tokens == tiny_truth(ASKED, 20)
    assert mat > 3


def test_a_store_in_a_missing_folder_is_made(load_tiny, tmp_path, tiny_plain):
    path = tmp_path / "a" / "b c" / "store.db"
    with load_tiny(store=str(path)) as llama:
        take(llama, ASKED, 6)
    assert kept(path, tiny_plain)[0] == 1


def test_the_default_store_is_in_the_users_data_folder(load_tiny, data_folder):
    with load_tiny(store="default") as llama:
        take(llama, ASKED, 4)
        assert llama.store.is_relative_to(data_folder)
        assert llama.store.is_file()


def test_no_store_leaves_no_file(load_tiny, data_folder):
    def files():
        return {path for path in data_folder.rglob("*") if path.is_file()}

    before = files()
    with load_tiny() as llama:
        take(llama, ASKED, 4)
    assert files() == before
