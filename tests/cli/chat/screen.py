"""A terminal with a screen, and a chat on it whose answers are given.

Knows the escape sequences that rich and prompt_toolkit send; any other one fails the test.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata

PATIENCE = 60
"""Seconds after which a chat that says nothing has hung."""

LAUNCH = """
import fcntl, json, pathlib, sys, termios, time
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
script, *arguments = sys.argv[1:]
pieces, go = json.loads(pathlib.Path(script).read_text()), pathlib.Path(script + ".go")

def ask(self, text):
    for piece in pieces:
        while piece is None and not go.exists():
            yield ""
            time.sleep(0.01)
        yield piece or ""

from aded_edge.assistant import Assistant
from aded_edge.cli.start import main_chat
Assistant.ask = ask
main_chat(arguments)
"""

SEQUENCE = re.compile(
    rb"\x1b\[[?>]?[\d;]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>78]|[\r\n\b\x07]"
    rb"|[^\x1b\r\n\b\x07]+"
)
QUIET = re.compile(rb"\x1b\[\?\d+[hl]|\x1b\[[\d;]*m|\x1b\[>?[\d;]*[mu]|\x1b\[\d* q|\x1b[=>]|\x07")
"""Colours, and modes that move nothing."""


class Screen:
    """What a terminal shows. Rows that left it at the top are kept in `rows` too."""

    def __init__(self, height, width):
        self.height, self.width = height, width
        self.rows, self.row, self.column = [[]], 0, 0
        self.top = 0  # the first row of the window
        self.asked = 0  # how often the place of the cursor was asked for

    def feed(self, data):
        """Takes output. Returns what is incomplete at its end."""
        place = 0
        while place < len(data):
            found = SEQUENCE.match(data, place)
            if found is None or (found.end() == len(data) and found[0][:1] not in b"\r\n"):
                rest = data[place:]
                assert len(rest) < 1 << 20, rest[:99]
                if found is None or rest[:1] == b"\x1b" or not _whole(rest):
                    return rest
            self._take(found[0])
            place = found.end()
        return b""

    def text(self):
        """All rows, the oldest first."""
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip()

    def window(self):
        """The rows that are seen."""
        return "\n".join("".join(row).rstrip() for row in self.rows[self.top :])

    def resize(self, height, width):
        """Changes the window. Rows that are there already are not folded anew."""
        self.height, self.width = height, width
        self.top = max(self.top, len(self.rows) - height)

    def _take(self, part):
        if QUIET.fullmatch(part):
            return
        if part[:1] != b"\x1b":
            self._write(part.decode())
            return
        found = re.fullmatch(rb"\x1b\[(\??)([\d;]*)([A-Za-z])", part)
        assert found, f"a sequence that nobody expects: {part!r}"
        number = int(found[2].split(b";")[0] or 0)
        self._obey(found[3].decode(), number)

    def _obey(self, what, number):
        many = max(number, 1)
        if what in "AB":
            self._go(self.row + (many if what == "B" else -many))
        elif what in "CD":
            self.column = max(0, self.column + (many if what == "C" else -many))
        elif what == "G":
            self.column = many - 1
        elif what in "KJ":
            assert what == "K" or number == 0, "rows above the answer would be removed"
            row = self.rows[self.row]
            row[:] = [] if number == 2 else row[: self.column]
            if what == "J":
                del self.rows[self.row + 1 :]
        elif what == "n":
            self.asked += 1
        else:
            raise AssertionError(f"a sequence that nobody expects: {what}")

    def _go(self, row):
        self.row = min(max(row, self.top), self.top + self.height - 1)
        self.rows += [[] for _ in range(self.row + 1 - len(self.rows))]

    def _down(self):
        if self.row == self.top + self.height - 1:
            self.top += 1
        self._go(self.row + 1)

    def _write(self, text):
        for character in text:
            if character == "\n":
                self._down()
            elif character == "\r":
                self.column = 0
            elif character == "\b":
                self.column = max(0, self.column - 1)
            else:
                self._put(character)

    def _put(self, character):
        wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self.column + wide > self.width:
            self._down()
            self.column = 0
        row = self.rows[self.row]
        row += " " * (self.column + wide - len(row))
        row[self.column : self.column + wide] = [character, *[""] * (wide - 1)]
        self.column += wide


def _whole(rest):
    try:
        rest.decode()
    except UnicodeDecodeError:
        return False
    return True


class Chat:
    """A chat on a terminal, that answers each question with the given pieces.

    At None among the pieces it waits for `go`.
    """

    def __init__(self, folder, model, pieces, height=24, width=80, options=()):
        script = folder / "answer.json"
        script.write_text(json.dumps(pieces))
        self._go = folder / "answer.json.go"
        self.screen = Screen(height, width)
        self.raw = self._rest = b""
        self._answered = 0
        self.master, slave = pty.openpty()
        self._size(slave, height, width)
        self.process = subprocess.Popen(
            [
                sys.executable, "-c", LAUNCH, str(script), str(model), "--store", "none",
                "--ctx", "256", "--threads", "1", "--gpu-layers", "0", *options,
            ],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        os.close(slave)

    def go(self):
        """Lets the answer go on."""
        self._go.touch()

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, done, why):
        """Reads until the function of the screen is true."""
        deadline = time.monotonic() + PATIENCE
        while not done(self.screen):
            left = deadline - time.monotonic()
            assert left > 0, f"not {why}:\n{self.screen.text()}"
            self.read(left)

    def settle(self):
        """Reads what comes when the rows are drawn again, and again."""
        for _ in range(4):
            self.read(2)

    def read(self, seconds):
        """Reads what comes within so many seconds; returns whether something did."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.master, 1 << 16)
        except OSError:  # how Linux says that the other side has gone
            piece = b""
        assert piece, f"the chat ended:\n{self.screen.text()}"
        self.raw += piece
        self._rest = self.screen.feed(self._rest + piece)
        for _ in range(self.screen.asked - self._answered):
            row = self.screen.row - self.screen.top + 1
            self.type(f"\x1b[{row};{self.screen.column + 1}R")
        self._answered = self.screen.asked
        return True

    def resize(self, height, width):
        """Changes the size of the window, and says so."""
        self._size(self.master, height, width)
        self.screen.resize(height, width)
        os.kill(self.process.pid, signal.SIGWINCH)

    def echoes(self):
        """Whether keys are echoed."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    @staticmethod
    def _size(terminal, height, width):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
