"""The loop of the chat, with an answer from a script."""

from types import SimpleNamespace

from aded_edge.cli.chat.repl import Repl
from aded_edge.decode.stats import Stats


class Recorder:
    """A printer that keeps what it is told."""

    def __init__(self):
        self.remarks = []

    def feed(self, piece):
        pass

    def end(self):
        pass

    def remark(self, text):
        self.remarks.append(text)


def test_every_answer_that_goes_round_in_a_circle_is_remarked_on_once():
    assistant = SimpleNamespace(messages=[], stats=Stats())
    printers = []

    def printer():
        printers.append(Recorder())
        return printers[-1]

    repl = Repl(assistant, None, printer)
    for words in (["round ", "and "] * 500, ["round ", "and "] * 500, ["short"]):
        assert repl.answer(word for word in words)
    assert [len(one.remarks) for one in printers] == [1, 1, 0]
    assert "Ctrl-C" in printers[0].remarks[0]
