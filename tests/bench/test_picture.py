"""The picture: what can be drawn, and what is refused in one line."""

import json

import pytest

from aded_edge.bench import picture
from aded_edge.bench.speed.decoders import PLAIN
from aded_edge.errors import BenchError
from aded_edge.files import check_picture
from tests.bench.results import needs_matplotlib, result

OLD = json.dumps({**result(), "summary": [{"visit": 1, "speedup": 1.0}]})
"""What earlier versions wrote."""


@needs_matplotlib
def test_plain_decoding_alone_is_nothing_to_draw(tmp_path):
    with pytest.raises(BenchError, match="nothing to draw"):
        picture.draw([result(decoders=(PLAIN,))], tmp_path / "x.png")


@needs_matplotlib
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": 1, "summary": []}', OLD])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match=r"r\.json is not a result"):
        picture.draw_files([path], tmp_path / "x.png")


@needs_matplotlib
def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(BenchError, match="no folder"):
        check_picture(tmp_path / "gone" / "x.png")
    with pytest.raises(BenchError, match="cannot draw"):
        picture.draw([result()], tmp_path)
