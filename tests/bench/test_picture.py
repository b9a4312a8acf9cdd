"""The picture: drawn from results as they are written, or refused in one line."""

import importlib.util
import json

import pytest

from aded_edge.bench import picture
from aded_edge.bench.speed.decoders import PLAIN
from aded_edge.cli.main import cli, guarded
from aded_edge.errors import BenchError
from aded_edge.files import check_picture

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is an extra"
)


def result(decoders=(PLAIN, "auto", "paper"), visits=2):
    rows = [
        {
            "visit": visit,
            "category": category,
            "decoder": name,
            "speedup": 0.5 + visit,
            "speedup_median": 0.6 + visit,
            "speedup_quartiles": [0.4 + visit, 0.7 + visit],
        }
        for visit in range(1, visits + 1)
        for category in ("all", "qa")
        for name in decoders
    ]
    settings = {"max_tokens": 8, "temperature": 0.0, "threads": 2, "n_ctx": 512}
    settings |= {"flash_attn": False, "gpu_layers": 0}
    conditions = {"model": "m.gguf", "description": "llama 1B Q4_0", "cpu": "", "machine": "Linux"}
    conditions |= {"llama_cpp_python": "0.3.36", "time": "2026-01-01 00:00:00"}
    return {
        "settings": settings,
        "conditions": conditions,
        "dialogs": 2,
        "turns_left_out": 0,
        "finished": True,
        "stores": {f"visit {n}": "cold" if n == 1 else "warm" for n in range(1, visits + 1)},
        "summary": rows,
    }


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


@needs_matplotlib
def test_plain_decoding_alone_is_nothing_to_draw(tmp_path):
    with pytest.raises(BenchError, match="nothing to draw"):
        picture.draw([result(decoders=(PLAIN,))], tmp_path / "x.png")


@needs_matplotlib
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": 1, "summary": []}'])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match=r"r\.json is no result"):
        picture.picture([path], tmp_path / "x.png")


@needs_matplotlib
def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(BenchError, match="no folder"):
        check_picture(tmp_path / "gone" / "x.png")
    with pytest.raises(BenchError, match="cannot draw"):
        picture.draw([result()], tmp_path)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert guarded(cli, ["bench", "picture", "r.json", "--png", str(tmp_path / "x.png")]) == 1
    assert "pip install 'aded-edge[plot]'" in capfd.readouterr().err
