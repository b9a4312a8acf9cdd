"""Code is coloured line by line, as it would be at once, at a cost that does not grow with it."""

import pytest
from rich.console import Console

from aded_edge.cli.chat import code
from aded_edge.cli.chat.code import Code

PYTHON = '''def f(x):
    """About
    it: "for" is no keyword here.
    """
    return "a"  # done

TEXT = """
not indented, in a string
for x in y"""
for x in TEXT:
    print(x)
'''


def coloured(language, lines, at_once):
    block, drawn = Code(language), []
    for line in lines:
        block.add(line)
        drawn += [] if at_once else block.news()
    return [*drawn, *block.news()]


def colours(lines):
    console, found = Console(), []
    for line in lines:
        text = line.text
        styles = [text.get_style_at_offset(console, n).color for n in range(len(text))]
        found.append([c for c, at in zip(styles, text.plain, strict=True) if not at.isspace()])
    return found


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", PYTHON), ("c", "/* a\nif b */\nint main(void) {\n  return 1;\n}\n// end\nint x"),
        ("", "any <text>"), ("nonsense", "a\n\tb"), ("json", '{\n  "a": [1, 2]\n}'),
    ],
)  # fmt: skip
def test_lines_that_come_one_by_one_have_the_same_colours(language, text):
    lines = text.split("\n")
    slowly, whole = (coloured(language, lines, at_once) for at_once in (False, True))
    assert [line.text.plain for line in whole] == [line.expandtabs(4) for line in lines]
    assert colours(slowly) == colours(whole)


@pytest.mark.parametrize(
    "line", ["x = [1, 2]", "    x = 'deep'", '"""', "'", "# note", "/* never ended", ")"]
)
def test_no_line_costs_more_the_longer_the_block_is(line, monkeypatch):
    block, read = Code("python"), []
    lexer = block._lexer
    get_tokens = lexer.get_tokens
    monkeypatch.setattr(
        lexer, "get_tokens", lambda text: read.append(len(text)) or get_tokens(text)
    )
    for _ in range(600):
        block.add(line)
        assert block.news()[0].text.plain == line
    assert len(read) == 600
    assert max(read) <= code._READ_AGAIN + len(line) + 2
