"""The summary: arithmetic on made-up answers."""

import pytest

from aded_edge.bench.speed.decoders import PLAIN, RunSettings
from aded_edge.bench.speed.summary import LONG_PROMPTS, RunAnswer, first_difference, summarise


def answer(decoder, seconds, tokens=11, accepted=0, dialog=1, category="qa", **more):
    """An answer whose first token takes a tenth of the given seconds of the rest."""
    given = {
        "run": 1,
        "visit": 1,
        "turn": 0,
        "text": "",
        "seconds_first": 0.1 * seconds,
        "seconds_last": 1.1 * seconds,
        "prompt_tokens": 20,
        "differs": 3 if decoder == "paper" else None,
    }
    return RunAnswer(
        dialog=dialog,
        category=category,
        decoder=decoder,
        tokens=tokens,
        steps=tokens - 1 - accepted,
        accepted=accepted,
        **(given | more),
    )


def summary(*answers, decoders=(PLAIN, "auto", "paper")):
    rows = summarise(RunSettings("m", ("p",), decoders=decoders, visits=1), answers)
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
    for figure in ("first", "answer", "generation"):
        assert by["qa", "auto"][figure] == pytest.approx(2.0)
        assert by["all", "auto"][figure] == pytest.approx(20 / 1.5 / 10)
        assert by["all", PLAIN][figure] == 1.0
    assert by["all", "auto"]["answer_median"] == pytest.approx(1.5)
    assert by["all", "auto"]["mat"] == pytest.approx(1 + 5 / 15)
    assert by["all", "paper"]["identical"] == 0
    assert by["all", "paper"]["mat"] == 2.0
    assert by["rag", PLAIN]["speed"] == pytest.approx(10.0)
    assert by["rag", PLAIN]["seconds_first"] == pytest.approx(0.1)
    assert by["rag", PLAIN]["seconds_last"] == pytest.approx(1.1)
    assert by["all", "auto"]["worst"] == {"category": "rag", "answer": pytest.approx(1.0)}
    assert by["all", "paper"]["worst"] == {"category": "rag", "answer": pytest.approx(0.25)}
    assert "worst" not in by["all", PLAIN]
    assert "worst" not in by["qa", "auto"]


def test_first_answer_and_generation_are_three_figures():
    row = summary(
        answer(PLAIN, 0.0, seconds_first=1.0, seconds_last=3.0),
        answer("auto", 0.0, seconds_first=2.0, seconds_last=2.5),
    )["qa", "auto"]
    assert row["first"] == pytest.approx(0.5)
    assert row["answer"] == pytest.approx(1.2)
    assert row["generation"] == pytest.approx(4.0)
    assert row["speed"] == pytest.approx(20.0)


def test_answers_of_different_lengths_are_compared_up_to_the_shorter_ones_end():
    """One that stops early is not faster, one that goes on is not slower."""
    for mine, plains in ((6, 11), (11, 6), (11, 1), (1, 11)):
        times = {"seconds_first": 1.0}
        row = summary(
            answer(PLAIN, 0.0, tokens=plains, seconds_last=1.0 + 0.1 * (plains - 1), **times),
            answer("auto", 0.0, tokens=mine, seconds_last=1.0 + 0.1 * (mine - 1), **times),
        )["qa", "auto"]
        assert row["answer"] == row["answer_median"] == pytest.approx(1.0)


def test_long_prompts_count_in_a_category_of_their_own_too():
    by = summary(
        answer(PLAIN, 1.0),
        answer("auto", 0.5),
        answer(PLAIN, 1.0, dialog=2, category="rag", prompt_tokens=1000),
        answer("auto", 2.0, dialog=2, category="rag", prompt_tokens=1000),
        answer(PLAIN, 1.0, dialog=3, category="rag", prompt_tokens=999),
        answer("auto", 1.0, dialog=3, category="rag", prompt_tokens=999),
    )
    assert by[LONG_PROMPTS, "auto"]["answer"] == pytest.approx(0.5)
    assert by[LONG_PROMPTS, "auto"]["answers"] == 1
    assert by["rag", "auto"]["answers"] == 2
    assert by["all", "auto"]["answers"] == 3
    assert by["all", "auto"]["worst"]["category"] == LONG_PROMPTS
    assert (LONG_PROMPTS, PLAIN) not in summary(answer(PLAIN, 1.0))


def test_figures_of_several_runs_are_medians():
    answers = []
    for run, ratio in enumerate((1.0, 4.0, 2.0), 1):
        answers += [answer(PLAIN, 1.0, run=run), answer("auto", 1 / ratio, run=run)]
        answers += [answer(PLAIN, 1.0, run=run, dialog=2, category="rag")]
        answers += [answer("auto", 1.0, run=run, dialog=2, category="rag")]
    by = summary(*answers)
    assert by["qa", "auto"]["answer"] == pytest.approx(2.0)
    assert by["qa", "auto"]["answer_quartiles"] == pytest.approx([2.0, 2.0])
    assert by["qa", "auto"]["runs"]["answer"] == pytest.approx([1.0, 4.0, 2.0])
    assert by["qa", "auto"]["answers"] == 3
    assert by["all", "auto"]["worst"]["category"] == "rag"
    assert "runs" not in summary(*answers[:4])["qa", "auto"]


def test_the_first_difference_is_found():
    assert first_difference("abc", "abc") is None
    assert first_difference("abc", "abd") == 2
    assert first_difference("abc", "ab") == first_difference("ab", "abc") == 2
    assert first_difference("", "a") == 0


def test_a_peer_that_left_early_is_compared_with_plain_on_its_own_turns():
    by = summary(
        answer(PLAIN, 1.0),
        answer("paper", 1.0),
        answer(PLAIN, 9.0, dialog=2),
        answer("auto", 9.0, dialog=2),
    )
    assert by["qa", "paper"]["answer"] == 1.0
    assert by["qa", "auto"]["answer"] == 1.0
    assert by["qa", PLAIN]["answer"] == 1.0


def test_quartiles_are_of_the_turns():
    plain = [answer(PLAIN, 1.0, dialog=n) for n in range(4)]
    auto = [answer("auto", 1.0 / ratio, dialog=n) for n, ratio in enumerate((1, 2, 3, 4))]
    row = summary(*plain, *auto)["all", "auto"]
    assert row["answer_median"] == pytest.approx(2.5)
    assert row["answer_quartiles"] == pytest.approx([1.75, 3.25])
    single = summary(plain[1], auto[1])["all", "auto"]
    assert single["answer_quartiles"] == pytest.approx([single["answer_median"]] * 2)


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
    assert row["speed"] == row["generation"] == row["answer"] == 0.0
    assert row["mat"] == row["answer_median"] == 1.0
