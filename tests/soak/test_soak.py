"""A short part of `scripts/soak`: nothing grows, and a poisoned store costs little."""

from tests.harness import run_short

SHORT = ["--steps", "3000", "--model-steps", "1000", "--poison-answers", "6", "--tiny", "--untimed"]


def test_nothing_grows_and_a_poison_costs_little(tmp_path):
    figures = run_short("tests.soak.main", SHORT, tmp_path / "soak.json")["figures"]
    assert figures["scripted"]["steps"] >= 3000
    assert figures["model"]["steps"] >= 1000
    assert figures["poisoned"]["same_answers"] == 6
    assert 0 < figures["poisoned"]["drafts"] < figures["poisoned, forged"]["drafts"]
