"""Many machines and many drafters: what is a visit, and who is ahead."""

import pytest

from aded_edge.bench.replay.compare import AUTO, POLICIES, Row, compare, visits_of
from aded_edge.bench.replay.curves import Curve
from aded_edge.bench.replay.run import Replay
from aded_edge.errors import BenchError
from tests.bench.replay.drafters import fresh
from tests.bench.replay.traces import trace

FLAT = Curve({1: 1.0, 64: 1.1}, "flat")
STEEP = Curve({1: 1.0, 2: 3.0}, "steep")


def test_traces_of_one_temperature_are_its_visits():
    greedy, one, other = trace(), trace(temperature=0.8), trace(temperature=0.8, seed=1)
    assert visits_of([greedy], 2) == {0.0: [greedy, greedy]}
    assert visits_of([one, greedy, other], 3) == {
        0.8: [one, other, other],
        0.0: [greedy, greedy, greedy],
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 0}, "different seeds"),
        ({"prompts": "other.jsonl"}, "same prompts"),
        ({"fingerprint": "g" * 32}, "several models"),
    ],
)
def test_traces_that_do_not_belong_together_are_refused(changes, said):
    with pytest.raises(BenchError, match=said):
        visits_of([trace(), trace(**{"seed": 1, **changes})], 2)


def test_more_traces_than_visits_are_refused():
    with pytest.raises(BenchError, match="need --visits 2"):
        visits_of([trace(), trace(seed=1)], 1)


def test_every_drafter_answers_on_every_machine_and_visit():
    ticks = []
    made = trace()
    rows = compare(
        {0.0: [made, made]},
        [FLAT, STEEP],
        lambda curve: Replay(fresh(), curve),
        tick=lambda: ticks.append(1),
    )
    assert [(row.curve.name, row.visit) for row in rows] == [
        ("flat", 1),
        ("flat", 2),
        ("steep", 1),
        ("steep", 2),
    ]
    assert len(ticks) == 2 * len(made.turns) * (2 + len(POLICIES) - 1)
    for row in rows:
        assert tuple(row.speeds) == POLICIES
    flat, steep = rows[1].speeds, rows[3].speeds
    assert flat[AUTO] > 2 > flat["ngram-simple"] >= 1.0
    assert steep[AUTO] > 0.99 > steep["lookup-2"] > steep["lookup-10"] > steep["paper"]


def test_what_was_answered_before_makes_the_first_visit_the_second():
    made = trace()
    twice = compare({0.0: [made, made]}, [FLAT], lambda curve: Replay(fresh(), curve))
    warm = compare({0.0: [made]}, [FLAT], lambda curve: Replay(fresh(), curve), warm=[made])
    assert warm[0].speeds == twice[1].speeds


def test_behind_is_who_is_faster_by_more_than_rounding():
    speeds = {AUTO: 1.204, "lookup-2": 1.1, "ngram-mod": 1.2041, "paper": 1.21}
    assert [*Row(0.0, 1, FLAT, {}, speeds).behind()] == ["paper"]
