"""A short part of `scripts/faults`: kills of every kind, a crowd, damage, a bad disk."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SHORT = ["--rounds", "14", "--crowd-seconds", "3", "--truncations", "3", "--flips", "5"]


def test_nothing_is_lost_and_nothing_damages(tmp_path):
    out = tmp_path / "faults.json"
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.main", *SHORT, "--json", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(out.read_text())
    assert result["violations"] == []
    kills = [count["killed"] for count in result["counts"].values() if "killed" in count]
    assert len(kills) == 7
    assert sum(kills) >= 14
    assert "eight processes" in result["counts"]
    assert sum(result["counts"]["damage"].values()) == 11
    assert result["counts"]["disk"] == {"cases": 8, "violated": 0}
