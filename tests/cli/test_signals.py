"""Signals that end a command in order."""

import signal

import pytest

from aded_edge.cli.signals import until_interrupted


def test_a_second_ctrl_c_stops_at_once():
    with until_interrupted() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
