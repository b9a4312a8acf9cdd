"""What people are shown: nothing that a terminal obeys, and their own time."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.shown import local, one_line, visible

OBEYED = "\x1b\x9b\x07\x08\x7f\x00\u202e\u2066\ud800"


def test_what_a_terminal_obeys_is_written_out():
    assert visible("a\x1b[31m\x9b\u202e") == r"a\u001b[31m\u009b\u202e"
    assert visible("a\tb\r\nc\rd 漢字 é 👩\u200d👩") == "a\tb\r\nc\\u000dd 漢字 é 👩\u200d👩"
    assert one_line("a\n b\x1bc") == r"a b\u001bc"


@given(st.text(st.characters() | st.sampled_from(OBEYED)))
def test_json_keeps_its_content(text):
    shown = visible(json.dumps([text], ensure_ascii=False))
    assert not set(shown) & set(OBEYED)
    assert json.loads(shown) == [text]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("UTC", "2026-01-31 23:30"), ("CET-1", "2026-02-01 00:30"), ("EST5", "2026-01-31 18:30")],
)
def test_times_are_local(zone, expected, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert local("2026-01-31T23:30:00Z") == expected
        assert local("2026-01-31T23:30:00Z", day=True) == expected[:10]
        assert local("soon") == "soon"
    finally:
        monkeypatch.undo()
        time.tzset()
