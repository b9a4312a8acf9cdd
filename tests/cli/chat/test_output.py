"""What is printed: thoughts told from speech, and Markdown block by block."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from aded_edge.cli.chat.output import (
    LATE,
    MarkdownPrinter,
    PlainPrinter,
    Thoughts,
    summary,
)
from aded_edge.decode.stats import Stats


def told_apart(pieces):
    split = Thoughts()
    parts = [part for piece in pieces for part in split.feed(piece)] + list(split.rest())
    said = "".join(text for thought, text in parts if not thought)
    return said, "".join(text for thought, text in parts if thought)


@given(st.data())
def test_thoughts_are_told_apart_however_they_are_cut(data):
    text = "a <think>b < c</think>d <thin e<think>f"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert told_apart(pieces) == ("a d <thin e", "b < cf")


@given(st.data())
def test_thinking_that_the_prompt_opened_ends_at_any_split(data):
    text = "b < c</thin</think>\n\nd </think>e"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    split = Thoughts(thinking=True)
    parts = [
        part
        for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)
        for part in split.feed(text[i:j])
    ] + list(split.rest())
    assert "".join(text for thought, text in parts if thought) == "b < c</thin"
    assert "".join(text for thought, text in parts if not thought) == "\n\nd </think>e"


def test_a_closing_tag_alone_ends_the_thinking():
    assert told_apart(["hm, ", "2</think>two"]) == ("hm, two", "2")
    split = Thoughts()
    list(split.feed("hm"))
    assert not split.late
    list(split.feed("</think>two"))
    assert split.late
    text = printed(["hm", "\n</th", "ink>two"])
    assert text.index("hm") < text.index(LATE) < text.index("two")
    assert "</think>" not in text


def told_apart_at_once(text):
    """The slow, obvious twin of `Thoughts`: it looks at the whole text."""
    parts = {False: "", True: ""}
    thinking = False
    while text:
        before, tag, text = text.partition("</think>" if thinking else "<think>")
        parts[thinking] += before
        thinking ^= bool(tag)
    return parts[False], parts[True]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "think>", "/", "a", " "])))
def test_any_text_is_split_as_if_it_came_at_once(pieces):
    text = "<think>" + "".join(pieces)
    pieces = ["<thi", "nk>", *pieces]
    assert told_apart(pieces) == told_apart(list(text)) == told_apart_at_once(text)


ANSWER = "# Title\n\nSome *text*.\n\n```python\nx = 1\n\ny = 2\n```\n\n- a\n- b\n"


def printed(pieces, think="dim"):
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=20)
    printer = MarkdownPrinter(console, think)
    for piece in pieces:
        printer.feed(piece)
    printer.end()
    return console.file.getvalue()


def test_markdown_is_drawn_once_for_good(monkeypatch):
    monkeypatch.setattr("aded_edge.cli.chat.output._REDRAW", 0.0)
    text = printed(list(ANSWER))
    final = text.rsplit("\x1b[2K", 1)[-1]
    assert "**" not in text
    assert "```" not in final
    assert "Title" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor comes back


def test_thoughts_can_be_hidden():
    pieces = ["<think>se", "cret</think>", "open"]
    assert "secret" in printed(pieces).replace("\x1b[0m\x1b[2;3m", "")
    assert "cret" not in printed(pieces, "hide")


def test_plain_text_is_the_models(capsys):
    for thoughts, expected in ((True, "<think>x</think>y\n"), (False, "y\n")):
        printer = PlainPrinter(thoughts)
        for piece in ("<thi", "nk>x</think>y"):
            printer.feed(piece)
        printer.end()
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize(("steps", "told"), [(3, False), (63, False), (64, True), (500, True)])
def test_a_ratio_is_told_only_where_enough_steps_show_it(steps, told):
    stats = Stats(tokens=steps, steps=steps, seconds=1.0, seconds_plain=1.5)
    assert ("1.50x plain decoding" in summary(stats)) == told


def test_a_remark_does_not_get_lost_in_an_answer(monkeypatch, capsys):
    monkeypatch.setattr("aded_edge.cli.chat.output._REDRAW", 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=20)
    printer = MarkdownPrinter(console, "dim")
    printer.feed("one ")
    printer.remark("a remark")
    printer.feed("two")
    printer.end()
    shown = console.file.getvalue()
    assert shown.count("a remark") == 1
    assert "one two" in shown
    plain = PlainPrinter()
    plain.feed("one")
    plain.remark("a remark")
    plain.end()
    out, errors = capsys.readouterr()
    assert (out, "a remark" in errors) == ("one\n", True)
