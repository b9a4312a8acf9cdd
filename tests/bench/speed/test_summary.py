"""The summary: arithmetic on made-up answers."""

import pytest

from aded_edge.bench.speed.decoders import PLAIN, RunSettings
from aded_edge.bench.speed.summary import RunAnswer, summarise


def answer(decoder, seconds, tokens=11, accepted=0, dialog=1, category="qa", **more):
    return RunAnswer(
        visit=1,
        dialog=dialog,
        category=category,
        turn=0,
        decoder=decoder,
        tokens=list(range(tokens)),
        seconds=seconds,
        steps=tokens - 1 - accepted,
        accepted=accepted,
        identical=decoder != "paper",
        **more,
    )


def summary(*answers, decoders=(PLAIN, "auto", "paper")):
    rows = summarise(RunSettings("m", "p", decoders=decoders, visits=1), answers)
    return {(row["category"], row["decoder"]): row for row in rows}


def test_a_summary_compares_the_same_turns():
    by = summary(
        answer(PLAIN, 1.0),
        answer("auto", 0.5, accepted=5),
        answer("paper", 2.0, accepted=5),
        answer(PLAIN, 1.0, dialog=2, category="rag"),
        answer("auto", 1.0, dialog=2, category="rag"),
        answer("paper", 4.0, accepted=5, dialog=2, category="rag"),
    )
    assert by["qa", "auto"]["speedup"] == 2.0
    assert by["all", "auto"]["speedup"] == pytest.approx(20 / 1.5 / 10)
    assert by["all", "auto"]["speedup_median"] == 1.5
    assert by["all", "auto"]["mat"] == pytest.approx(1 + 5 / 15)
    assert by["all", "paper"]["identical"] == 0
    assert by["all", "paper"]["mat"] == 2.0
    assert by["rag", PLAIN]["speed"] == 10.0


def test_a_peer_that_left_early_is_compared_with_plain_on_its_own_turns():
    by = summary(
        answer(PLAIN, 1.0),
        answer("paper", 1.0),
        answer(PLAIN, 9.0, dialog=2),
        answer("auto", 9.0, dialog=2),
    )
    assert by["qa", "paper"]["speedup"] == 1.0
    assert by["qa", "auto"]["speedup"] == 1.0
    assert by["qa", PLAIN]["speedup"] == 1.0


def test_quartiles_are_of_the_turns():
    plain = [answer(PLAIN, 1.0, dialog=n) for n in range(4)]
    auto = [answer("auto", 1.0 / ratio, dialog=n) for n, ratio in enumerate((1, 2, 3, 4))]
    row = summary(*plain, *auto)["all", "auto"]
    assert row["speedup_median"] == pytest.approx(2.5)
    assert row["speedup_quartiles"] == pytest.approx([1.75, 3.25])
    single = summary(plain[1], auto[1])["all", "auto"]
    assert single["speedup_quartiles"] == pytest.approx([single["speedup_median"]] * 2)


def test_overhead_is_what_was_not_evaluating():
    parts = {"drafting": 0.1, "evaluating": 1.6, "accepting": 0.1, "learning": 0.2}
    by = summary(answer(PLAIN, 4.0), answer("auto", 2.0, parts=parts, oracle=1.0))
    row = by["qa", "auto"]
    assert row["overhead"] == pytest.approx(0.2)
    assert row["shares"] == pytest.approx({"drafting": 0.05, "accepting": 0.05, "learning": 0.1})
    assert row["oracle_speedup"] == pytest.approx(4.0)
    assert row["oracle_share"] == pytest.approx(0.5)
    assert "overhead" not in by["qa", PLAIN]


def test_answers_of_one_token_divide_nothing_by_zero():
    row = summary(answer(PLAIN, 0.0, tokens=1), answer("auto", 0.0, tokens=1))["qa", "auto"]
    assert row["speed"] == row["speedup"] == 0.0
    assert row["mat"] == row["speedup_median"] == 1.0
