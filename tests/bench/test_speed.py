"""The speed benchmark on the real model, small: its figures must be those of its answers."""

import json

import pytest
from click.testing import CliRunner

from aded_edge.bench.speed import DECODERS, PLAIN, Answer, Settings, summarise
from aded_edge.cli import cli


def answer(decoder, seconds, tokens=11, steps=10, accepted=0, dialog=1, category="qa"):
    return Answer(
        visit=1,
        dialog=dialog,
        category=category,
        turn=0,
        decoder=decoder,
        tokens=list(range(tokens)),
        seconds=seconds,
        steps=steps,
        accepted=accepted,
        identical=decoder != "paper",
    )


def test_a_summary_compares_the_same_turns():
    settings = Settings("m", "p", decoders=(PLAIN, "auto", "paper"), visits=1)
    rows = summarise(
        settings,
        [
            answer(PLAIN, 1.0),
            answer("auto", 0.5, steps=5, accepted=5),
            answer("paper", 2.0, steps=5, accepted=5),
            answer(PLAIN, 1.0, dialog=2, category="rag"),
            answer("auto", 1.0, steps=10, dialog=2, category="rag"),
            answer("paper", 4.0, steps=10, dialog=2, category="rag"),
        ],
    )
    by = {(row["category"], row["decoder"]): row for row in rows}
    assert by["qa", "auto"]["speedup"] == 2.0
    assert by["all", "auto"]["speedup"] == pytest.approx(20 / 1.5 / 10)
    assert by["all", "auto"]["speedup_median"] == 1.5
    assert by["all", "auto"]["mat"] == pytest.approx(1 + 5 / 15)
    assert by["all", "paper"]["identical"] == 0
    assert by["rag", PLAIN]["speed"] == 10.0


def test_the_command_measures_prints_and_writes(model_path, tmp_path):
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out" / "result.json"
    row = {"question_id": 1, "category": "qa", "turns": ["Name three colours.", "Again."]}
    prompts.write_text(json.dumps(row) + "\n", encoding="utf-8")
    arguments = [str(model_path), "--prompts", str(prompts), "--max-tokens", "12"]
    arguments += ["--ctx", "512", "--threads", "2", "--json", str(out)]
    result = CliRunner().invoke(cli, ["bench", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert "visit 2" in result.output
    written = json.loads(out.read_text(encoding="utf-8"))
    answers = written["answers"]
    assert {a["decoder"] for a in answers} == set(DECODERS)
    assert len(answers) == 2 * 2 * len(DECODERS)  # visits, turns
    assert all(len(a["tokens"]) <= 12 for a in answers)
    off = [a for a in answers if a["decoder"] == "off"]
    assert all(a["identical"] for a in off)
    assert {row["visit"] for row in written["summary"]} == {1, 2}
    assert written["conditions"]["bytes"] == model_path.stat().st_size
