"""Who may use a model: one thread at a time, and one stream at a time.

Neither llama.cpp's contexts nor an assistant's turns are made for several threads. `Access` lets
calls and the steps of streams run one after the other. A call or a stream of another thread waits
as long as the open stream goes on, so that answers come one after the other. An open stream that
nobody reads for PATIENCE seconds is suspended, and so is an older one if its own thread begins
another: what it needs is saved, and restored when it goes on.

Knows threads, streams and forks. Does not know what is saved, nor llama.cpp.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from aded_edge.errors import EvaluationError

PATIENCE = 5.0
"""Seconds after which a stream that is open and not read no longer keeps other threads waiting."""

_FORKED = (
    "this process was forked while the model was in use by another thread, so its state is unknown "
    "here; load the model again"
)

_P = ParamSpec("_P")
_S = TypeVar("_S")
_T = TypeVar("_T")
_Y = TypeVar("_Y")

_all: weakref.WeakSet[Access] = weakref.WeakSet()


class _Stream:
    """A stream that has begun: the thread that read it last, when, and what it needs to go on."""

    def __init__(self) -> None:
        self.thread = 0
        self.read = 0.0
        self.saved: Any = None
        self.suspended = False


class Access:
    """The right to use an object, for calls and streams of any thread.

    Args:
        save: method of the object that returns what an open stream needs to go on.
        restore: method of the object that takes it. Both methods are held weakly, because the
            object owns this one.
        after_fork: why a process made by `fork` cannot use the object; None if it can.

    Attributes:
        refusal: why the object cannot be used any more. Set it to end running streams at their
            next step; every later use raises EvaluationError with this text.
    """

    def __init__(
        self,
        save: Callable[[], Any] | None = None,
        restore: Callable[[Any], None] | None = None,
        after_fork: str | None = None,
    ) -> None:
        self.refusal: str | None = None
        self.after_fork = after_fork
        self._save = weakref.WeakMethod(save) if save is not None else None
        self._restore = weakref.WeakMethod(restore) if restore is not None else None
        self._turn = threading.Condition()  # its lock may be taken again by the same thread
        self._inside = 0  # the thread that uses the object now
        self._open: _Stream | None = None  # the stream that goes on without being restored
        _all.add(self)

    @contextmanager
    def alone(self, stream: _Stream | None = None, *, reads: bool = False) -> Iterator[None]:
        """Use the object inside the `with` block, while no other thread does.

        A use within another one belongs to that one.

        Args:
            stream: the stream whose step this is; None for a call.
            reads: the call changes nothing that a stream needs, so it only waits for a step.

        Raises:
            EvaluationError: the object cannot be used any more.
        """
        turn, me = self._turn, threading.get_ident()
        with turn:
            self._check()
            if self._inside == me:
                yield
                return
            if not reads:
                self._wait_for_others(stream)
                self._make_current(stream)
            try:
                self._inside = me
                yield
            finally:
                self._inside = 0

    def stream(self, steps: Generator[_Y, _S, None]) -> Generator[_Y, _S, None]:
        """Pass on a generator whose steps use the object, and what is sent into it.

        Raises:
            EvaluationError: the object cannot be used any more.
        """
        stream, sent = _Stream(), None
        try:
            while True:
                with self.alone(stream):
                    try:
                        item = next(steps) if sent is None else steps.send(sent)
                    except StopIteration:
                        return
                    finally:
                        stream.read = time.monotonic()
                sent = yield item
        finally:
            turn = self._turn
            with turn:
                try:
                    steps.close()
                finally:
                    if self._open is stream:
                        self._open = None
                    turn.notify_all()

    @contextmanager
    def end(self, refusal: str) -> Iterator[None]:
        """Take the object away inside the `with` block: a running stream ends at its next step."""
        self.refusal = refusal
        with self._turn:
            self._open = None
            yield

    def _check(self) -> None:
        if self.refusal is not None:
            raise EvaluationError(self.refusal)

    def _wait_for_others(self, stream: _Stream | None) -> None:
        """Wait as long as a stream of another thread goes on."""
        while (
            (other := self._open) is not None
            and other is not stream
            and other.thread != threading.get_ident()
            and (left := other.read + PATIENCE - time.monotonic()) > 0
        ):
            self._turn.wait(left)
            self._check()

    def _make_current(self, stream: _Stream | None) -> None:
        """Suspend the open stream if need be, and restore the one that goes on.

        A call between two steps of a stream, in the thread that reads it, is meant for that stream.
        """
        me, opened = threading.get_ident(), self._open
        if opened is not None and opened is not stream and (stream or opened.thread != me):
            opened.saved = self._call(self._save)
            opened.suspended = True
            self._open = None
        if stream is None:
            return
        if stream.suspended:
            self._call(self._restore, stream.saved)
            stream.saved, stream.suspended = None, False
        stream.thread = me
        self._open = stream

    @staticmethod
    def _call(method: weakref.WeakMethod[Any] | None, *arguments: Any) -> Any:
        bound = method() if method is not None else None
        return bound(*arguments) if bound is not None else None

    def begin_in_child(self) -> None:
        """Make this usable in a process that `fork` just made."""
        if self._inside not in (0, threading.get_ident()):
            self.refusal = self.refusal or _FORKED
        self.refusal = self.refusal or self.after_fork
        self._turn = threading.Condition()  # another thread may have held the old one


def _begin_in_child() -> None:
    for access in list(_all):
        access.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


class _Shared(Protocol):
    _access: Access


_Owner = TypeVar("_Owner", bound=_Shared)


def alone(
    method: Callable[Concatenate[_Owner, _P], _T],
) -> Callable[Concatenate[_Owner, _P], _T]:
    """Decorate a method that uses the object: it runs while no other thread uses it."""

    @wraps(method)
    def call(self: _Owner, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self._access.alone():
            return method(self, *args, **kwargs)

    return call


def reading(
    method: Callable[Concatenate[_Owner, _P], _T],
) -> Callable[Concatenate[_Owner, _P], _T]:
    """Decorate a method that only reads the object: it waits for the step of another thread."""

    @wraps(method)
    def call(self: _Owner, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self._access.alone(reads=True):
            return method(self, *args, **kwargs)

    return call


def streaming(
    method: Callable[Concatenate[_Owner, _P], Generator[_Y, _S, None]],
) -> Callable[Concatenate[_Owner, _P], Generator[_Y, _S, None]]:
    """Decorate a generator method that uses the object in each of its steps."""

    @wraps(method)
    def call(self: _Owner, /, *args: _P.args, **kwargs: _P.kwargs) -> Generator[_Y, _S, None]:
        yield from self._access.stream(method(self, *args, **kwargs))

    return call
