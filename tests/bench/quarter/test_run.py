"""The sessions of a quarter, on a tiny model."""

import json

import pytest

from aded_edge.bench.quarter.run import (
    EMPTY,
    KEPT,
    OTHER,
    STORES,
    QuarterSettings,
    planned,
    run,
)
from aded_edge.bench.sessions import Session, Turn
from aded_edge.errors import BenchError

SETTINGS = QuarterSettings(max_tokens=12, threads=1, n_ctx=512)

TURNS = (Turn("Is tea good?"), Turn("Why?", "why"))
DAYS = [Session(day, 1, "tea", "Be short.", TURNS) for day in (1, 2)]
OTHERS = [Session(1, 1, "dogs", "", (Turn("Do dogs dream?"),))]


@pytest.fixture
def held(tiny_path, few, tmp_path):
    """Holds sessions, and writes them to a file."""
    out = tmp_path / "out.json"

    def held(days=DAYS, settings=SETTINGS, progress=lambda label, answers: None, others=OTHERS):
        return run(tiny_path, days, others, settings, out, progress)

    held.out = out
    held.stores = tmp_path / "out.stores"
    return held


def test_every_store_answers_every_question(held):
    done = []
    result = held(progress=lambda label, answers: done.append(answers))
    assert sum(done) == planned(DAYS, OTHERS) == 3 * 4 + 1
    rows = {(row["session"], row["turn"], row["store"]): row for row in result["rows"]}
    assert len(rows) == len(result["rows"]) == 12
    assert {store for _, _, store in rows} == {*STORES}
    for row in rows.values():
        assert 0 < row["first"] <= row["answer"]
        assert 0 < row["tokens"] <= 12
    prompts = [{rows[day.id, 1, store]["prompt_tokens"] for store in STORES} for day in DAYS]
    assert all(len(lengths) == 1 for lengths in prompts), "all continue with the same answer"
    assert rows["1.1", 1, KEPT]["task"] == "why"
    assert json.loads(held.out.read_text(encoding="utf-8")) == json.loads(json.dumps(result))
    assert result["begun"] is None
    assert result["unsure"] == []


def test_only_the_kept_store_learns_from_the_sessions(held):
    held(DAYS[:1])
    before = {store: (held.stores / f"{store}.db").read_bytes() for store in STORES}
    held(DAYS)
    after = {store: (held.stores / f"{store}.db").read_bytes() for store in STORES}
    changed = {store for store in STORES if before[store] != after[store]}
    assert changed == {KEPT}
    assert before[OTHER] != before[EMPTY]


def test_a_run_goes_on_where_it_was_interrupted(held):
    class Stopped(Exception):
        pass

    def stop(label, answers):
        if label.startswith("2.1") and label.endswith(KEPT):
            raise Stopped

    with pytest.raises(Stopped):
        held(progress=stop)
    kept = json.loads(held.out.read_text(encoding="utf-8"))
    assert kept["begun"] == "2.1"
    assert {row["session"] for row in kept["rows"] if row["store"] == KEPT} == {"1.1"}
    again = []
    result = held(progress=lambda label, answers: again.append((label, answers)))
    assert sum(answers for _, answers in again) == planned(DAYS, OTHERS)
    assert ("1.1", 2) in again, "a session that was held is not held again"
    assert len(result["rows"]) == 12
    assert result["rows"][: len(kept["rows"])] == kept["rows"]
    assert result["unsure"] == ["2.1"], "its store had learned from an answer of the session"
    assert held()["unsure"] == ["2.1"]


def test_the_other_store_stays_as_it_is_once_sessions_were_held(held):
    held(DAYS[:1])
    before = (held.stores / f"{OTHER}.db").read_bytes()
    done = []
    again = [*OTHERS, Session(2, 1, "cats", "", (Turn("And cats?"),))]
    result = held(others=again, progress=lambda label, answers: done.append(answers))
    assert (held.stores / f"{OTHER}.db").read_bytes() == before
    assert result["prepared"] == 1
    assert sum(done) == planned(DAYS, again)


def test_a_session_ends_before_the_turn_that_does_not_fit(held):
    long = Session(1, 1, "tea", "", (Turn("Hello."), Turn("one two " * 400), Turn("Bye.")))
    done = []
    rows = held([long], progress=lambda label, answers: done.append(answers))["rows"]
    assert sorted((row["store"], row["turn"]) for row in rows) == [(s, 0) for s in sorted(STORES)]
    assert sum(done) == planned([long], OTHERS)


def test_a_question_that_never_fits_is_told(held):
    with pytest.raises(BenchError, match="larger --ctx"):
        held([Session(1, 1, "tea", "", (Turn("one two " * 400),))])


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"conditions": {"bytes": 1}}'])
def test_a_file_that_is_no_such_result_is_not_overwritten(held, text):
    held.out.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match="out.json"):
        held()
    assert held.out.read_text(encoding="utf-8") == text


def test_other_settings_need_another_file(held):
    held(DAYS[:1])
    with pytest.raises(BenchError, match="other settings"):
        held(settings=QuarterSettings(max_tokens=13, threads=1, n_ctx=512))


def test_stores_without_a_result_are_not_taken_for_known(held):
    held(DAYS[:1])
    held.out.unlink()
    result = held(DAYS[:1])
    assert len(result["rows"]) == 6
    assert result["unsure"] == []
