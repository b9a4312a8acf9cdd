"""Sessions: how a file is read, and what the ones in the package hold."""

import json
from collections import Counter

import pytest

from aded_edge.bench.sessions import (
    PACKAGED,
    day_of,
    load_sessions,
    packaged,
    week_of,
)
from aded_edge.errors import BenchError

ROWS = [
    {"text": "short", "content": "Be short.\n"},
    {"text": "a.py@1", "content": "one\ntwo\n"},
    {"text": "a.py@2", "from": "a.py@1", "replace": [["two", "three"]]},
    {
        "day": 1,
        "kind": "edit",
        "system": ["short"],
        "turns": [
            {"attach": ["a.py@1"], "say": "Change it."},
            {"attach": ["a.py@1..a.py@2"], "say": "Commit?", "task": "commit"},
        ],
    },
    {"day": 8, "kind": "chat", "turns": [{"say": "Hello."}]},
    {"day": 8, "kind": "chat", "turns": [{"say": "Again."}]},
]


@pytest.fixture
def written(tmp_path):
    """Writes lines, and reads the sessions."""

    def written(*rows):
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return load_sessions(path)

    return written


def test_texts_are_put_in_front_of_what_is_said(written):
    edit, hello, again = written(*ROWS)
    assert edit.turns[0].text == "a.py:\n```\none\ntwo\n```\n\nChange it."
    assert edit.turns[1].text.startswith("```diff\n--- a/a.py\n+++ b/a.py\n")
    assert "\n one\n-two\n+three\n```\n\nCommit?" in edit.turns[1].text
    assert [turn.task for turn in edit.turns] == [None, "commit"]
    assert [session.id for session in (edit, hello, again)] == ["1.1", "8.1", "8.2"]
    assert [week_of(day_of(session.id)) for session in (edit, hello)] == [1, 2]
    assert edit.dialog().before == ({"role": "system", "content": "Be short."},)
    assert edit.dialog().turns == tuple(turn.text for turn in edit.turns)
    assert (hello.system, hello.dialog().before) == ("", ())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["x"]], "line 1"),
        ([ROWS[0]], "no sessions"),
        ([ROWS[4], ROWS[3]], "line 2"),  # its texts are missing
        ([*ROWS[:3], ROWS[4], ROWS[3]], "day 1 comes after day 8"),
        ([ROWS[1], {**ROWS[2], "replace": [["four", ""]]}], "has 'four' 0 times"),
        ([{"day": 1, "kind": "chat", "turns": []}], "no turns"),
    ],
)
def test_what_is_no_file_of_sessions_is_refused(written, rows, said):
    with pytest.raises(BenchError, match=said):
        written(*rows)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BenchError, match="gone.jsonl"):
        load_sessions(tmp_path / "gone.jsonl")


def test_a_name_that_is_no_session_has_no_day():
    with pytest.raises(ValueError, match="unpack"):
        day_of("81")


@pytest.fixture(scope="module")
def quarter():
    return load_sessions(packaged("quarter"))


def test_the_quarter_is_a_quarter(quarter):
    answers = Counter(week_of(s.day) for s in quarter for _ in s.turns)
    assert [*answers] == [*range(1, 14)]
    assert min(answers.values()) >= 20
    assert sum(answers.values()) >= 300
    kinds = Counter(s.kind for s in quarter for _ in s.turns)
    assert set(kinds) == {
        *("edit", "report", "sql", "tools", "translate"),
        *("mail", "lookup", "chat"),
    }
    assert min(kinds.values()) >= 20


def test_a_third_of_it_is_repeated_and_little_to_the_letter(quarter):
    said, tasks = set(), set()
    literal = repeated = answers = 0
    for turn in (turn for session in quarter for turn in session.turns):
        answers += 1
        if turn.text in said:
            literal += 1
        elif turn.task in tasks:
            repeated += 1
        said.add(turn.text)
        tasks |= {turn.task} - {None}
    assert 0.25 < repeated / answers < 0.45
    assert 0 < literal / answers < 0.12


def test_files_change_from_day_to_day_and_documents_come_back(quarter):
    attached = [
        turn.text.split("\n```")[0]
        for session in quarter
        for turn in session.turns
        if "\n```\n" in turn.text
    ]
    assert max(Counter(attached).values()) >= 10
    whole = {turn.text.split("```")[1] for s in quarter for turn in s.turns if "```" in turn.text}
    assert len(whole) >= 50


def test_the_files_are_small_and_conversations_fit():
    for name in PACKAGED:
        assert packaged(name).stat().st_size < 400_000
        for session in load_sessions(packaged(name)):
            characters = len(session.system) + sum(len(turn.text) for turn in session.turns)
            assert characters < 9_000, session.id  # about 2,500 tokens


def test_the_other_user_asks_for_something_else(quarter):
    mine = {turn.text for session in quarter for turn in session.turns}
    others = [turn.text for s in load_sessions(packaged("other")) for turn in s.turns]
    assert len(others) >= 40
    assert not mine & set(others)
