"""Figures of a generation."""

import pytest

from aded_edge.decode.stats import Meter, Stats


def test_plain_decoding_has_a_mat_of_one():
    assert Stats(tokens=5, steps=4).mat == 1.0
    assert Stats().mat == 1.0


def test_mat_counts_the_bonus():
    assert Stats(steps=10, accepted=15).mat == 2.5


def test_speed_leaves_out_the_token_that_the_prompt_gave():
    stats = Stats(tokens=26, steps=10, accepted=15, seconds=5.0, seconds_plain=10.0)
    assert stats.tokens_per_second == 5.0
    assert stats.predicted_speedup == 2.0


def test_without_a_curve_no_speedup_is_claimed():
    assert Stats(tokens=3, steps=2, seconds=1.0).predicted_speedup is None


def test_cumulative_figures_are_sums():
    first = Stats(prompt_tokens=3, tokens=5, steps=4, seconds=1.0).after(Stats())
    second = Stats(prompt_tokens=2, tokens=7, steps=3, accepted=3, seconds=0.5).after(first)
    assert second.tokens == 7
    total = second.cumulative
    assert total is not None
    assert (total.prompt_tokens, total.tokens, total.steps, total.accepted) == (5, 12, 7, 3)
    assert total.seconds == 1.5
    assert total.cumulative is None


def test_the_reason_for_plain_decoding_is_kept():
    stats = Stats(plain_because="no").after(Stats())
    assert stats.cumulative is not None
    assert (stats.plain_because, stats.cumulative.plain_because) == ("no", "no")


def test_a_meter_leaves_out_the_time_of_the_consumer(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("aded_edge.decode.stats.time.perf_counter", lambda: now[0])
    meter = Meter()
    meter.resume()
    now[0] += 2
    assert meter.lap("drafting") == 2
    now[0] += 1
    meter.lap("evaluating")
    now[0] += 50  # the consumer
    meter.resume()
    now[0] += 4
    meter.lap("learning")
    meter.step(drafted=3, accepted=2, emitted=3, plain_seconds=0.5)
    stats = meter.stats()
    assert (stats.seconds_drafting, stats.seconds_evaluating, stats.seconds_learning) == (2, 1, 4)
    assert stats.seconds == 7
    assert stats.seconds_plain == pytest.approx(1.5)
