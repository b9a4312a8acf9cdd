"""Every character of an answer is drawn, however it is cut and however wide the window is."""

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from aded_edge.cli.chat import output
from aded_edge.cli.chat.inline import inline
from aded_edge.cli.chat.markdown import Markdown, draw
from aded_edge.cli.chat.output import MarkdownPrinter

LITERAL = (
    "Vec<String>", "0<a and b>9", "<b>", "2*3*4", "3*4*5", "2**3**4", "__init__", "&lt;", "~~no~~",
    "[text](http://x.y/_a_)", "![alt](src.png)", "snake_case_names", r"C:\dir\*", "$x_1$",
    "[a]: b", "<!-- c -->", "1986. A great year", "7. seven", "*args, **kwargs", "- item",
    "+ item", "> quote", "===", "***", "\ttab", "**/*.py", "f(*a, **b)", "int *a, *b;", "漢字仮名",
    "a" * 90, "| not | a table", "x == y || z", ":smile:", "[bold]no markup[/bold]",
)  # fmt: skip


def drawn_at(width, text):
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False)
    console.print(*draw(text), sep="")
    return console.file.getvalue()


def bare(text):
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("width", [12, 40, 100])
@pytest.mark.parametrize("text", LITERAL)
def test_what_is_no_mark_is_drawn_as_it_was_written(text, width):
    assert bare(drawn_at(width, text)) == bare(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a **bold** word", "a bold word"),
        ("这是**重点**内容", "这是重点内容"),
        ("**Python**'s", "Python's"),
        ("`a*b` and ``c`d``", "a*b and c`d"),
        ("## Title #", "Title #"),
        ("one\ntwo", "one\ntwo"),
        ("```rust\nlet v: Vec<u8>;\n```", "rust\nlet v: Vec<u8>;"),
    ],
)
def test_marks_are_not_drawn(text, expected):
    rows = [row.rstrip() for row in drawn_at(60, text).rstrip().split("\n")]
    assert "\n".join(rows) == expected


@pytest.mark.parametrize("width", [10, 24, 60])
def test_cells_are_folded_and_never_cut(width):
    table = "| name | about |\n|---|---:|\n| Vec<String> | " + "漢字 word " * 8 + "|\n| 1 | 2 | 3 |"
    shown = bare(drawn_at(width, table))
    assert "…" not in shown
    for character in bare(table.replace("|---|---:|", "").replace("|", "")):
        assert shown.count(character) >= table.count(character)


PIECE = st.one_of(
    st.sampled_from(LITERAL),
    st.sampled_from(["\n", "\n\n", " ", "**", "*", "_", "`", "```\n", "```python\n", "# ", "|"]),
    st.sampled_from(["|a|b|\n|-|-|\n", "**bold**", "&amp;", "é", "\u202eabc", "\x1b[31m", "\r\n"]),
    st.text("abc <>&*_`|#-\n", max_size=12),
)


@settings(max_examples=150)
@given(st.lists(PIECE, max_size=12), st.integers(8, 80))
def test_all_that_is_no_mark_is_drawn(pieces, width):
    text = "".join(pieces).replace("\x1b", "").replace("\u202e", "")
    shown, wanted = drawn_at(width, text), re.sub(r"[\s*`#|:\-]", "", text)
    shown = re.sub(r"[\s*`#|:\-─━]", "", shown)
    assert sorted(wanted) == sorted(shown)


@settings(max_examples=60)
@given(st.lists(PIECE, max_size=10), st.integers(8, 60))
def test_an_answer_that_streams_ends_as_if_it_came_at_once(pieces, width):
    def shown(pieces):
        console = Console(
            file=io.StringIO(), force_terminal=True, width=width, height=12, color_system=None
        )
        printer = MarkdownPrinter(console, "dim")
        for piece in pieces:
            printer.feed(piece)
        printer.end()
        text = screen(console.file.getvalue())
        assert "\x1b" not in text
        # A space at which a row is broken may end it or begin the next one.
        return [row.strip() for row in text.rstrip().split("\n")]

    before, output._REDRAW = output._REDRAW, 0.0
    try:
        assert shown(list("".join(pieces))) == shown(["".join(pieces)])
    finally:
        output._REDRAW = before


def screen(text):
    """What a terminal of endless height shows."""
    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|[^\x1b]|\x1b", text):
        if part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part == "\x1b[2K":
            rows[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif not re.match(r"\x1b\[|\r", part):
            rows[row] += part
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "shown", "styles"),
    [
        (
            "an *easy* and **bold** word",
            "an easy and bold word",
            {"easy": "italic", "bold": "bold"},
        ),
        ("(*“Well?”*, *a `b`*)", "(“Well?”, a b)", {"“Well?”": "italic", "a ": "italic"}),
        ("***both***", "both", {"both": "bold italic"}),
        ("so _very nice_ of __init__", "so _very nice_ of __init__", {"_very nice_": "italic"}),
        ("2*3*4 and 2 *3* 4 and 2 * 3 * 4", "2*3*4 and 2 *3* 4 and 2 * 3 * 4", {}),
        ("长*宽*高 and *a*b*", "长*宽*高 and *a*b*", {}),
        ("(https://a.b/c_d_e).", "(https://a.b/c_d_e).", {"https://a.b/c_d_e": "underline"}),
    ],
)
def test_emphasis_is_seen_and_a_product_is_not_taken_for_it(text, shown, styles):
    drawn = inline(text)[0]
    spans = {drawn.plain[span.start : span.end]: span.style for span in drawn.spans}
    assert drawn.plain == shown
    assert {word: style for word, style in spans.items() if style in KINDS} == styles


KINDS = ("italic", "bold", "bold italic", "underline")


def test_only_what_is_marked_is_bold():
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system="standard")
    console.print(*draw("plain **thick**\n- item"), sep="")
    rows = console.file.getvalue().splitlines()
    assert rows[0].startswith("plain ")
    assert "\x1b[1mthick" in rows[0]
    assert rows[1] == "\x1b[1m- \x1b[0mitem"


def test_a_long_table_grows_at_a_steady_cost_and_is_whole_in_the_end():
    console = Console(file=io.StringIO(), width=40)
    markdown = Markdown()
    markdown.take(["| a | b |", "|---|---|", *(f"| row {n} | x |" for n in range(500))])
    growing = console.render_lines(markdown.growing("| last | y |")[0], pad=False)
    shown = ["".join(part.text for part in row) for row in growing]
    assert len(shown) < 120
    assert "row 499" in shown[-2]
    console.print(*markdown.rest())
    text = console.file.getvalue()
    assert all(f"row {n} " in text for n in range(500))
