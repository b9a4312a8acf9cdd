"""The doctor: what follows from costs is arithmetic, and what it keeps is what a chat finds."""

import dataclasses
import json
import math

import llama_cpp
import pytest
from click.testing import CliRunner
from rich.console import Console

from aded_edge.bench.doctor import examine as doctor
from aded_edge.bench.doctor.advice import (
    advice,
    best_width,
    break_even,
    chain_tokens,
    fastest_threads,
    oracle_speed,
)
from aded_edge.bench.doctor.examine import Findings
from aded_edge.bench.doctor.machine import features, thread_counts, weight_buffers
from aded_edge.cli import doctor as doctor_report
from aded_edge.cli.main import cli, guarded
from aded_edge.llamacpp.fingerprint import cost_conditions, cost_key
from aded_edge.store import Store, default_store_path

COSTS = {1: 0.010, 2: 0.015, 4: 0.020, 8: 0.050, 16: 0.200}


def findings(**changes):
    healthy = Findings(
        file="m.gguf",
        name="m",
        description="llama 1B Q4_0",
        bytes=100 << 20,
        buffers={"CPU_Mapped": 100.0, "CPU_REPACK": 80.0},
        features={"CPU": ["AVX2", "OPENMP", "REPACK"]},
        cpu="a CPU",
        cores=4,
        gpu=None,
        gpu_build=False,
        threads=4,
        gpu_layers=0,
        flash_attn=False,
        n_ctx=2048,
        others=0.1,
        costs=COSTS,
        times={1: {1: [3.0] * 3, 8: [9.0] * 3}, 4: {1: [1.0, 1.1, 1.0], 8: [2.0] * 3}},
        conditions={"model": "m"},
    )
    return dataclasses.replace(healthy, **changes)


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


def test_threads_that_are_tried():
    assert {1, 4, 8, 3} <= set(thread_counts(8, 3))
    assert thread_counts(1, 1)[0] == 1


# --- llama.cpp's words ----------------------------------------------------------------------


def test_the_system_info_is_read():
    text = "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : AVX2 = 1 | AMX_INT8 = 0 | REPACK = 1 | "
    assert features(text) == {"CUDA": ["ARCHS 900", "USE_GRAPHS"], "CPU": ["AVX2", "REPACK"]}


def test_the_places_of_the_weights_are_read():
    lines = [
        "load_tensors:   CPU_Mapped model buffer size =   400.86 MiB",
        "load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
        "load_tensors:   CPU_REPACK model buffer size =   191.95 MiB",
        "llama_kv_cache:        CPU KV buffer size =     6.00 MiB",
    ]
    found = weight_buffers(lines)
    assert found == {"CPU_Mapped": pytest.approx(500.86), "CPU_REPACK": 191.95}


# --- advice ---------------------------------------------------------------------------------


def test_where_all_is_well_nothing_is_advised():
    assert advice(findings(costs={1: 1.0, 2: 1.9})) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"others": 0.5}, "others used 0.5 of 4 cores"),
        ({"times": {4: {1: [1.0, 1.5, 1.6], 8: [2.0] * 3}}}, "1.50 times its fastest"),
        ({"buffers": {"CPU_Mapped": 100.0}, "costs": {1: 1.0, 2: 1.9}}, "requantise.py"),
        ({"gpu": "CUDA"}, "-DGGML_CUDA=on"),
        ({"gpu": "CUDA", "gpu_build": True}, "--gpu-layers -1"),
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


# --- printing and keeping -------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_report_fits_80_columns_in_any_encoding(tmp_path, encoding):
    out = tmp_path / "report"
    with out.open("w", encoding=encoding) as file:
        console = Console(file=file, width=80, highlight=False, markup=False)
        wide = {**COSTS, 64: 1.0}
        doctor_report.show(findings(name="[red]m", costs=wide, buffers={"CPU": 9.0}), console)
    text = out.read_text(encoding=encoding)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "[red]m" in text
    assert "never" in text
    assert ("#" in text) == (encoding == "ascii")


def test_costs_of_a_busy_machine_are_not_kept(tmp_path):
    path = tmp_path / "store.db"
    assert "busy" in doctor_report._keep(findings(others=3.0), path)
    assert not path.exists()
    assert str(path) in doctor_report._keep(findings(), path)
    with Store.open(path) as store:
        assert store.load_costs(findings().key) == COSTS


@pytest.fixture
def quick(monkeypatch):
    """Few rounds, and no machine is too busy."""
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "CURVE_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "TRY_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "SPREAD", math.inf)
    monkeypatch.setattr(doctor, "OTHERS", math.inf)


OPTIONS = ["--ctx", "512", "--threads", "1"]


def test_a_later_run_finds_what_the_doctor_measured(model_path, tmp_path, quick, load):
    store, out = tmp_path / "store.db", tmp_path / "out.json"
    arguments = ["doctor", str(model_path), *OPTIONS, "--store", str(store), "--json", str(out)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert max(len(line.rstrip()) for line in result.stdout.splitlines()) <= 80
    found = json.loads(out.read_text())
    assert set(found["times"]) >= {"1"}
    assert all(len(rounds) >= 3 for of in found["times"].values() for rounds in of.values())
    assert found["description"].endswith("Q4_1")
    # Only CPUs with AMX have kernels for batches of Q4_1.
    amx = "AMX_INT8 = 1" in llama_cpp.llama_print_system_info().decode()
    assert (found["batched"] > 0.25) == amx
    assert found["oracle"]["64"] >= 1.0
    costs = {int(width): seconds for width, seconds in found["costs"].items()}
    llama = load(store=store, n_ctx=512)
    with Store.open(store) as opened:
        assert opened.load_costs(cost_key(cost_conditions(llama))) == costs
    assert llama.costs == pytest.approx(costs)


def test_without_a_store_nothing_is_kept_and_the_smallest_context_will_do(model_path, quick):
    before = default_store_path().exists()
    smallest = ["--ctx", "64", "--threads", "1"]
    result = CliRunner().invoke(cli, ["doctor", str(model_path), *smallest, "--store", "none"])
    assert result.exit_code == 0
    assert "kept" not in result.stdout
    assert default_store_path().exists() == before


@pytest.mark.parametrize("model", ["/nowhere/model.gguf", "/tmp", __file__])
def test_a_model_that_cannot_be_loaded_is_one_line(model, capfd):
    assert guarded(cli, ["doctor", model]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert model in said.err


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(model_path, capfd):
    assert guarded(cli, ["doctor", str(model_path), "--json", "/nowhere/out.json"]) == 1
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
