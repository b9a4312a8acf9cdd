"""`bench picture`: drawn from results as they are written."""

import importlib.util
import json

from aded_edge.cli.main import cli, guarded
from tests.bench.results import needs_matplotlib, result


@needs_matplotlib
def test_results_are_drawn_again_from_their_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(result()), encoding="utf-8")
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    assert guarded(cli, ["bench", "picture", str(tmp_path / "a.json"), "--png", str(one)]) == 0
    files = [str(tmp_path / f"{name}.json") for name in ("a", "b")]
    assert guarded(cli, ["bench", "picture", *files, "--png", str(two)]) == 0
    assert one.read_bytes().startswith(b"\x89PNG")
    assert height(two) > height(one)


def height(png):
    return int.from_bytes(png.read_bytes()[20:24], "big")


def test_without_matplotlib_the_remedy_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert guarded(cli, ["bench", "picture", "r.json", "--png", str(tmp_path / "x.png")]) == 1
    assert "pip install matplotlib" in capfd.readouterr().err
