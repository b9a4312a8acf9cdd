"""A short part of `scripts/soak`: nothing grows, and a poisoned store costs little."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SHORT = ["--steps", "3000", "--model-steps", "1000", "--poison-answers", "6", "--tiny", "--untimed"]


def test_nothing_grows_and_a_poison_costs_little(tmp_path):
    out = tmp_path / "soak.json"
    run = subprocess.run(
        [sys.executable, "-m", "tests.soak.main", *SHORT, "--json", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(out.read_text())["figures"]
    assert figures["scripted"]["steps"] >= 3000
    assert figures["model"]["steps"] >= 1000
    assert figures["poisoned"]["same_answers"] == 6
    assert 0 < figures["poisoned"]["drafts"] < figures["poisoned, forged"]["drafts"]
