"""Prompts evaluated once: files that are there, dropped, or refused."""

import pytest

from aded_edge.bench.speed.evaluated import EvaluatedPrompts, load_kv
from aded_edge.errors import BenchError


def test_kv_is_kept_while_there_is_room(tiny_plain, tmp_path):
    evaluated = EvaluatedPrompts(tmp_path)
    prompts = [[1, *range(5, 40)], [1, *range(9, 44)], [1]]
    files = [evaluated.file(tiny_plain, prompt) for prompt in prompts]
    written = [path.stat().st_mtime_ns for path in files]
    tiny_plain.reset()
    assert [evaluated.file(tiny_plain, prompt) for prompt in prompts] == files
    assert [path.stat().st_mtime_ns for path in files] == written
    assert tiny_plain.n_tokens == 0  # nothing was evaluated again

    for prompt, path in zip(prompts, files, strict=True):
        load_kv(tiny_plain, path)
        assert tiny_plain.input_ids[: tiny_plain.n_tokens].tolist() == prompt[:-1]

    tight = EvaluatedPrompts(tmp_path, most_bytes=1)
    one = tight.file(tiny_plain, prompts[0])
    other = tight.file(tiny_plain, prompts[1])
    assert (one.exists(), other.exists()) == (False, True)
    before = other.read_bytes()
    tight.file(tiny_plain, prompts[0])
    assert tight.file(tiny_plain, prompts[1]).read_bytes() == before


def test_kv_that_cannot_be_kept_or_read_is_told(tiny_plain, tmp_path):
    with pytest.raises(BenchError, match="TMPDIR"):
        EvaluatedPrompts(tmp_path / "gone").file(tiny_plain, [1, 5, 6])
    (tmp_path / "x.kv").write_bytes(b"nothing of the kind")
    with pytest.raises(BenchError, match=r"x\.kv"):
        load_kv(tiny_plain, tmp_path / "x.kv")
