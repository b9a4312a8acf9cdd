"""`bench month`: a table, a picture and JSON of a month on a tiny model."""

import json

from aded_edge.cli.main import cli, guarded
from tests.bench.results import needs_matplotlib


@needs_matplotlib
def test_a_short_month_is_printed_written_and_drawn(tiny_path, tmp_path, few, capsys):
    days = [{"day": day, "topic": "tea", "turns": ["Is tea good?", "Why?"]} for day in (1, 2, 3)]
    prompts, out, png = (tmp_path / name for name in ("month.jsonl", "out.json", "x.png"))
    prompts.write_text("\n".join(map(json.dumps, days)), encoding="utf-8")
    arguments = ["bench", "month", str(tiny_path), "--prompts", str(prompts), "--limit", "2"]
    arguments += ["--max-tokens", "20", "--threads", "1", "--ctx", "512"]
    assert guarded(cli, [*arguments, "--json", str(out), "--png", str(png)]) == 0
    said = capsys.readouterr().out
    assert "plain decoding" in said
    assert "tea" in said
    assert png.read_bytes().startswith(b"\x89PNG")
    result = json.loads(out.read_text(encoding="utf-8"))
    assert {row["day"] for row in result["rows"]} == {1, 2}
    settings = {"max_tokens": 20, "threads": 1, "n_ctx": 512, "temperature": 0.0}
    assert result["settings"] == settings
