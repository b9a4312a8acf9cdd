"""`doctor`: what it prints fits a terminal, and what it keeps is what a chat finds."""

import json
import math

import llama_cpp
import pytest
from click.testing import CliRunner
from rich.console import Console

from aded_edge.bench.doctor import examine
from aded_edge.cli import doctor as command
from aded_edge.cli.main import cli, guarded
from aded_edge.llamacpp.fingerprint import cost_conditions, cost_key
from aded_edge.runtime import exactness
from aded_edge.runtime.exactness import proof_conditions
from aded_edge.store import Store, default_store_path
from tests.bench.doctor.samples import COSTS, findings


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_report_fits_80_columns_in_any_encoding(tmp_path, encoding):
    out = tmp_path / "report"
    with out.open("w", encoding=encoding) as file:
        console = Console(file=file, width=80, highlight=False, markup=False)
        wide = {**COSTS, 64: 1.0}
        command.show(findings(name="[red]m", costs=wide, buffers={"CPU": 9.0}), console)
    text = out.read_text(encoding=encoding)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "[red]m" in text
    assert "never" in text
    assert ("#" in text) == (encoding == "ascii")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "built without GPU support"),
        ({"built_for": ["rpc", "vulkan"], "gpu_layers": -1}, "rpc, vulkan, and finds no device"),
        ({"built_for": ["vulkan"], "found": ["Vulkan0 (card)"]}, "no layers were put on Vulkan0"),
        ({"found": ["Vulkan0 (card)"], "devices": ["Vulkan0 (card)"]}, "gpu Vulkan0 (card)"),
    ],
)
def test_the_report_says_which_device_evaluated(changes, said, capsys):
    command.show(findings(**changes), Console(width=200, highlight=False, markup=False))
    assert said in " ".join(capsys.readouterr().out.split())


def test_costs_of_a_busy_machine_are_not_kept(tmp_path):
    path = tmp_path / "store.db"
    assert "busy" in command._keep(findings(others=3.0), path)
    assert not path.exists()
    assert str(path) in command._keep(findings(), path)
    with Store.open(path) as store:
        assert store.load_costs(findings().key) == COSTS


@pytest.fixture
def quick(monkeypatch, few):
    """Few rounds, and no machine is too busy."""
    monkeypatch.setattr(examine, "CURVE_SECONDS", 0.0)
    monkeypatch.setattr(examine, "TRY_SECONDS", 0.0)
    monkeypatch.setattr(exactness, "PROOF_SECONDS", 0.0)
    monkeypatch.setattr(examine, "SPREAD", math.inf)
    monkeypatch.setattr(examine, "OTHERS", math.inf)


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
    llama = load(store=store, n_ctx=512, flash_attn=False)
    with Store.open(store) as opened:
        assert opened.load_costs(cost_key(cost_conditions(llama))) == costs
        proof = opened.load_proof(cost_key(proof_conditions(llama)))
    assert found["proof"] == {str(n): {str(w): d for w, d in of.items()} for n, of in proof.items()}
    assert "llamafile o" in result.stdout
    assert llama.costs == pytest.approx(costs)


def test_the_doctor_proves_in_the_context_that_exact_uses(model_path, quick, monkeypatch, load):
    """Also where `Llama` opens one for trees, as it does where rows are cheap."""
    monkeypatch.setattr("aded_edge.decode.budget.CHEAP", 1.0)
    settings = {"ctx": 256, "threads": 1, "gpu_layers": 0, "flash_attn": True}
    found = examine.examine(model_path, progress=lambda *_: None, **settings)
    llama = load(exact=True, n_ctx=256, n_gpu_layers=0)
    assert llama.context_params.n_seq_max == found.bit_conditions["context.n_seq_max"]
    assert cost_key(proof_conditions(llama)) == cost_key(found.bit_conditions)


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
