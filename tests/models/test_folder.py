"""Models are found by their names in the models folder."""

import pytest

from aded_edge import models
from aded_edge.errors import ModelError


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Qwen-0.5B-Q4_0.gguf", "Qwen-0.5B-Q4_0.gguf"),
        ("Qwen-0.5B-Q4_0", "Qwen-0.5B-Q4_0.gguf"),
        ("qwen-0.5b-q4_0", "Qwen-0.5B-Q4_0.gguf"),
        ("qwen-1", "Qwen-1.5B.gguf"),
        ("tiny", "tiny.gguf"),  # an exact name wins over a beginning
        ("tiny-", "tiny-2.gguf"),
        ("big", "big-00001-of-00002.gguf"),
        ("smol", "smollm3.gguf"),  # an existing file wins over the missing default model
    ],
)
def test_names_in_the_models_folder(folder, name, file):
    for there in (
        "Qwen-0.5B-Q4_0.gguf",
        "Qwen-1.5B.gguf",
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
        "smollm3.gguf",
        "tiny.gguf",
        "tiny-2.gguf",
        "qwen-1-notes.txt",
        ".tiny-3.gguf",
    ):
        (folder / there).write_bytes(b"x")

    assert models.resolve(name, fetch=False) == folder / file


def test_a_name_that_means_several_models_names_them(folder):
    for there in ("Qwen-0.5B.gguf", "Qwen-1.5B.gguf"):
        (folder / there).write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        models.resolve("qwen")
    assert str(caught.value) == (
        "'qwen' means several models: Qwen-0.5B.gguf, Qwen-1.5B.gguf; write more of it"
    )


def test_an_unknown_name_tells_the_nearest(folder):
    (folder / "Qwen-0.5B.gguf").write_bytes(b"x")
    with pytest.raises(ModelError, match="did you mean Qwen-0.5B.gguf\\? .*'aded-edge models"):
        models.resolve("qwne-0.5b.gguf")
    with pytest.raises(ModelError) as caught:
        models.resolve("zzz")
    assert "did you mean" not in str(caught.value)
