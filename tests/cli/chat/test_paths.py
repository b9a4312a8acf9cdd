"""Paths as terminals paste them."""

import pytest

from aded_edge.cli.chat.paths import typed_path


@pytest.mark.parametrize(
    "form",
    ["{}", "'{}'", '"{}"', "{escaped}", "file://{percent}", "file://localhost{percent}", "{} "],
)
def test_every_form_means_the_file(tmp_path, form):
    path = tmp_path / "my file.txt"
    path.touch()
    text = str(path)
    forms = {"escaped": text.replace(" ", "\\ "), "percent": text.replace(" ", "%20")}
    assert typed_path(form.format(text, **forms)) == path


def test_the_literal_name_comes_first(tmp_path):
    path = tmp_path / "'quoted'"
    path.touch()
    assert typed_path(str(path)) == path


def test_a_new_file_has_no_quotes(tmp_path):
    assert typed_path(f"'{tmp_path}/new file.md'") == tmp_path / "new file.md"
