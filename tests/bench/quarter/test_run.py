"""The simulated month, on a tiny model."""

import json

import pytest

from aded_edge.bench.month.run import (
    COLD,
    KEPT,
    PLAIN,
    MonthSettings,
    Session,
    run,
    sessions,
    speedups,
)
from aded_edge.errors import BenchError


def test_the_package_ships_a_month():
    days = sessions()
    assert [day.day for day in days] == list(range(1, 31))
    assert all(len(day.turns) == 3 for day in days)
    topics = [day.topic for day in days]
    assert all(topics.count(topic) >= 3 for topic in topics)


@pytest.mark.parametrize("text", ["no json", '{"day": 1}', '["day"]'])
def test_what_is_no_session_is_refused(tmp_path, text):
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(BenchError, match="x.jsonl"):
        sessions(tmp_path / "x.jsonl")


def test_a_short_month(tiny_path, few):
    days = [Session(day, "tea", ("Is tea good?", "Why?")) for day in (1, 2)]
    done = []
    result = run(tiny_path, days, MonthSettings(max_tokens=20, threads=1, n_ctx=512), done.append)
    assert sum(done) == 2 * 2 * 3
    rows = {(row["day"], row["kind"]): row for row in result["rows"]}
    assert set(rows) == {(day, kind) for day in (1, 2) for kind in (KEPT, COLD, PLAIN)}
    # The second day repeats the first: only the matrix that is kept can know.
    assert rows[2, KEPT]["tokens"] == rows[2, PLAIN]["tokens"]
    assert rows[2, PLAIN]["mat"] == 1.0
    assert len(speedups(result, KEPT)) == 2
    json.dumps(result)
