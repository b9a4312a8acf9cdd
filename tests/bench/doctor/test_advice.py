"""Conclusions from costs: arithmetic, and what is advised."""

import pytest

from aded_edge.bench.doctor.advice import (
    advice,
    best_width,
    break_even,
    chain_tokens,
    exactness,
    fastest_threads,
    oracle_speed,
)
from tests.bench.doctor.samples import COSTS, findings

# --- arithmetic -----------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("width", [1, 2, 8, 64])
def test_tokens_of_a_chain(p, width):
    assert chain_tokens(p, width) == pytest.approx((1 - p**width) / (1 - p))
    assert chain_tokens(1.0, width) == width


def test_the_best_width_grows_with_what_is_right():
    assert best_width(COSTS, 0.0) == (1, 1.0)
    assert best_width(COSTS, 0.4) == (1, 1.0)
    assert best_width(COSTS, 1.0) == (4, pytest.approx(2.0))
    best = [best_width(COSTS, p) for p in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    assert best == sorted(best)


def test_at_the_break_even_a_width_is_as_fast_as_plain():
    assert break_even(COSTS, 2) == pytest.approx(0.5)
    for width in (4, 8):
        p = break_even(COSTS, width)
        assert chain_tokens(p, width) * COSTS[1] / COSTS[width] == pytest.approx(1.0)
    assert break_even(COSTS, 16) is None
    assert break_even({1: 1.0, 2: 1.0}, 2) == pytest.approx(0.0)


def test_the_oracle_takes_the_width_that_fits_the_answer():
    assert oracle_speed(COSTS, 4) == pytest.approx(2.0)
    assert oracle_speed(COSTS, 64) == pytest.approx(2.0)
    assert oracle_speed(COSTS, 1) == pytest.approx(1.0)


def test_threads_are_compared_round_against_round():
    drifting = {1: {1: [1.0, 2.0, 4.0]}, 2: {1: [0.8, 1.6, 3.2]}}  # the machine slows down
    assert fastest_threads(drifting, 1, 1) == (2, pytest.approx(1.25))
    close = {1: {1: [1.0, 1.0, 1.0]}, 2: {1: [0.97, 0.97, 0.97]}}
    assert fastest_threads(close, 1, 1) == (1, 1.0)


# --- advice ---------------------------------------------------------------------------------


def test_where_all_is_well_nothing_is_advised():
    assert advice(findings(costs={1: 1.0, 2: 1.9})) == []
    assert advice(findings(gpu="CUDA", devices=["CUDA0 (a card)"])) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"others": 0.5}, "others used 0.5 of 4 cores"),
        ({"times": {4: {1: [1.0, 1.5, 1.6], 8: [2.0] * 3}}}, "1.50 times the fastest"),
        ({"buffers": {"CPU_Mapped": 100.0}, "costs": {1: 1.0, 2: 1.9}}, "requantise.py"),
        ({"gpu": "CUDA"}, "-DGGML_CUDA=on"),
        ({"gpu": "CUDA", "built_for": ["rpc"], "gpu_layers": -1}, "-DGGML_CUDA=on"),
        ({"gpu": "CUDA", "built_for": ["cuda"], "gpu_layers": -1}, "finds no device"),
        ({"gpu": "CUDA", "built_for": ["cuda"], "found": ["CUDA0 (a card)"]}, "--gpu-layers -1"),
        (
            {"times": {2: {1: [0.5] * 3, 8: [2.0] * 3}, 4: {1: [1.0] * 3, 8: [2.0] * 3}}},
            "n_threads=2, n_threads_batch=4",
        ),
        (
            {"times": {2: {1: [0.5] * 3, 8: [1.0] * 3}, 4: {1: [1.0] * 3, 8: [2.0] * 3}}},
            "--threads 2",
        ),
    ],
)
def test_what_would_help_is_said_in_one_advice(changes, words):
    (text,) = advice(findings(**changes))
    assert words in text


@pytest.mark.parametrize(
    "changes",
    [
        {"costs": {1: 1.0, 2: 1.2}},  # a second row is cheap as it is
        {"features": {"CPU": ["AVX"]}},  # nor has Q4_0 kernels there
        {"features": {"CPU": ["AVX2"]}},  # the build has none at all
        {"buffers": {}},  # the log was not understood
        {"buffers": {"CPU_Mapped": 10.0, "CUDA0": 90.0}},
    ],
)
def test_another_quantisation_is_advised_only_where_it_helps(changes):
    steep = {"buffers": {"CPU_Mapped": 100.0}, "costs": {1: 1.0, 2: 1.9}}
    assert advice(findings(**{**steep, **changes})) == []


def test_threads_are_not_advised_from_a_disturbed_measurement():
    times = {2: {1: [0.5] * 3, 8: [1.0] * 3}, 4: {1: [1.0, 1.6, 1.7], 8: [2.0] * 3}}
    (text,) = advice(findings(times=times))
    assert "busy" in text


# --- exactness ------------------------------------------------------------------------------

SOME = {40: {2: 0.0, 4: 0.0, 8: 0.5}, 300: {2: 0.0, 4: 0.7, 8: 0.5}}
DEFAULT = {"CPU": ["AVX2", "LLAMAFILE", "REPACK"]}


def test_where_all_widths_are_exact_nothing_is_named():
    assert exactness(findings()) == "exact drafts in widths 2, 4, 8 here."
    assert exactness(findings(features=DEFAULT)) == "exact drafts in widths 2, 4, 8 here."


def test_the_build_that_allows_more_is_named_with_its_price():
    said = exactness(findings(features=DEFAULT, proof=SOME))
    assert said.startswith("exact drafts in widths 2 here.")
    assert "-DGGML_LLAMAFILE=OFF" in said
    assert "293 instead of 654" in said
    assert "LLAMAFILE" not in exactness(findings(proof=SOME))


def test_where_none_is_exact_it_says_so():
    nothing = {40: {2: 0.1, 4: 0.1}}
    assert exactness(findings(proof=nothing)) == "exact decodes plainly here."
    said = exactness(findings(proof=nothing, flash_attn=True))
    assert said == (
        "exact decodes plainly here. More widths may be identical without flash attention."
    )
