"""A short part of `scripts/faults`: kills of every kind, a crowd, damage, a bad disk."""

from tests.harness import run_short

SHORT = ["--rounds", "14", "--crowd-seconds", "3", "--truncations", "3", "--flips", "5"]


def test_nothing_is_lost_and_nothing_damages(tmp_path):
    result = run_short("tests.faults.main", SHORT, tmp_path / "faults.json")
    assert result["violations"] == []
    kills = [count["killed"] for count in result["counts"].values() if "killed" in count]
    assert len(kills) == 7
    assert sum(kills) >= 14
    assert "eight processes" in result["counts"]
    assert sum(result["counts"]["damage"].values()) == 11
    assert result["counts"]["disk"] == {"cases": 8, "violated": 0}
