"""What a person sees of an answer: the real chat on a terminal with a screen."""

import pytest

from tests.cli.chat.screen import Chat, Screen

READY = "context 0 of"
PARTS = "tokens, "
"""In the line that follows an answer."""


@pytest.fixture
def chat(tmp_path, tiny_path):
    chats = []

    def chat(pieces, **window):
        chats.append(Chat(tmp_path, tiny_path, pieces, **window))
        chats[-1].until(lambda screen: READY in screen.text(), "ready")
        return chats[-1]

    yield chat
    for one in chats:
        one.close()


def shown(screen):
    """The rows of the answer."""
    text = screen.text()
    assert text.count(QUESTION) == 1
    return text.partition(QUESTION)[2].partition(PARTS)[0].split("\n")[1:-1]


QUESTION = "show it"

LITERAL = """\
Vec<String> and 0<a and b>9
<b> 2*3*4 __init__ &amp; \\n

Roses are red,
violets are blue,
漢字 and [a](http://b.c)
- item **bold** and *easy*
end"""


def test_a_screen_obeys():
    screen = Screen(3, 5)
    assert screen.feed("ab\r\n漢字xyz\x1b[1".encode()) == b"\x1b[1"
    assert screen.text() == "ab\n漢字x\nyz"
    screen.feed(b"\r\n\x1b[2A\x1b[2K\x1b[31mQ\x1b[0m")
    assert screen.window() == "Q\nyz\n"
    assert screen.text().startswith("ab")
    with pytest.raises(AssertionError):
        screen.feed(b"\x1b[2Zx")


def test_every_character_of_an_answer_is_on_the_screen(chat):
    here = chat([*LITERAL, None])
    here.type(QUESTION + "\r")
    wanted = LITERAL.replace("**bold**", "bold").replace("*easy*", "easy").split("\n")
    here.until(lambda screen: "end" in screen.text(), "answered")
    here.settle()
    assert shown_so_far(here.screen) == wanted
    here.go()
    here.until(lambda screen: PARTS in screen.text(), "finished")
    assert shown(here.screen) == wanted


def shown_so_far(screen):
    return screen.text().partition(QUESTION)[2].split("\n")[1:]


CODE = [f"line_{number} = {number}" for number in range(40)]


def test_the_newest_lines_of_a_long_block_are_seen_and_all_are_kept(chat):
    here = chat(["```python\n", *(line + "\n" for line in CODE), "gro", None, "ws\n```\nend"],
                height=12)  # fmt: skip
    here.type(QUESTION + "\r")
    here.until(lambda screen: "gro" in screen.window(), "drawn")
    here.settle()
    assert [line for line in here.screen.window().split("\n") if line][-5:] == [*CODE[-4:], "gro"]
    here.go()
    here.until(lambda screen: PARTS in screen.text(), "finished")
    assert shown(here.screen) == ["python", *CODE, "grows", "end"]


@pytest.mark.parametrize("answer", ["One line.\nA second one that grows", "```c\nint x;\nint gro"])
def test_ctrl_c_doubles_nothing_and_keys_are_echoed_again(chat, answer):
    here = chat([*answer, None, "never"])
    assert not here.echoes()  # prompt_toolkit reads keys
    here.type(QUESTION + "\r")
    here.until(lambda screen: answer[-4:] in screen.text(), "drawn")
    here.settle()
    assert not here.echoes()
    here.type("abc")  # is not echoed into the answer
    here.settle()
    here.type("\x03")
    here.until(lambda screen: "stopped" in screen.text(), "stopped")
    assert shown(here.screen) == answer.replace("```", "").split("\n")
    here.type("\x15/exit\r")
    with pytest.raises(AssertionError, match="the chat ended"):
        here.until(lambda _: False, "gone")
    assert here.process.wait(60) == 0
    assert here.echoes()
    assert here.raw.count(b"\x1b[?25l") <= here.raw.count(b"\x1b[?25h")


@pytest.mark.parametrize("size", [(24, 100), (10, 30)])
def test_a_window_that_changes_its_size_while_an_answer_grows(chat, size):
    lines = [f"word {number} " * 3 for number in range(30)]
    here = chat([line + "\n" for line in lines] + ["gro", None, "ws here\n", "and on\nend"],
                height=16, width=60)  # fmt: skip
    here.type(QUESTION + "\r")
    here.until(lambda screen: "gro" in screen.text(), "drawn")
    here.settle()
    here.resize(*size)
    here.settle()
    here.go()
    here.until(lambda screen: PARTS in screen.text(), "finished")
    assert shown(here.screen) == [*map(str.strip, lines), "grows here", "and on", "end"]
