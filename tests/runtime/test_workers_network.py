"""A worker behind a network: another network namespace, with delay where the kernel has netem."""

import contextlib
import itertools
import os
import shutil
import subprocess
import time

import pytest

from aded_edge import WorkerError
from aded_edge.llamacpp import greeting
from tests.workers import needs_rpc, wait_until_it_listens, worker

PROMPT = [1, *range(40, 80)]
HERE, THERE = "10.213.77.1", "10.213.77.2"
SPACE, NEAR, FAR = (f"{kind}{os.getpid()}" for kind in ("aded", "near", "far"))


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True)


@pytest.fixture
def network():
    """Runs a command beyond the network: the beginning of its command line."""
    inside = ("ip", "netns", "exec", SPACE)
    with contextlib.ExitStack() as stack:
        stack.callback(ip, "netns", "del", SPACE)
        stack.callback(ip, "link", "del", NEAR)  # the space is gone a little later than its name
        for command in (
            ("netns", "add", SPACE),
            ("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", SPACE),
            ("addr", "add", f"{HERE}/30", "dev", NEAR),
            ("link", "set", NEAR, "up"),
            ("-n", SPACE, "addr", "add", f"{THERE}/30", "dev", FAR),
            ("-n", SPACE, "link", "set", FAR, "up"),
            ("-n", SPACE, "link", "set", "lo", "up"),
        ):
            try:
                done = ip(*command)
            except OSError:
                pytest.skip("no `ip` here (iproute2)")
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
        delay = ("tc", "qdisc", "add", "dev", FAR, "root", "netem", "delay", "5ms")
        with contextlib.suppress(OSError):
            subprocess.run([*inside, *delay], capture_output=True)  # not every kernel has it
        yield inside


@pytest.fixture
def beyond(network):
    with worker("--host", THERE, "--open-to-network", prefix=network) as running:
        wait_until_it_listens(running.port, THERE)
        yield f"{THERE}:{running.port}"


@needs_rpc
def test_it_answers_as_here(load_tiny, beyond, tiny_truth):
    llama = load_tiny(rpc_servers=beyond)
    assert list(itertools.islice(llama.generate(PROMPT, temp=0.0), 30)) == tiny_truth(PROMPT, 30)


@needs_rpc
def test_a_machine_that_vanishes_is_an_error_too(load_tiny, beyond, monkeypatch):
    monkeypatch.setattr(greeting, "_KEEPALIVE", 1)
    llama = load_tiny(rpc_servers=beyond)
    stream = llama.generate(PROMPT, temp=0.0)
    next(stream)
    ip("-n", SPACE, "link", "set", FAR, "down")  # nothing says that the connection is over
    with pytest.raises(WorkerError, match=f"the worker {beyond} is lost"):
        list(itertools.islice(stream, 30))
    llama.close()


@needs_rpc
@pytest.mark.skipif(shutil.which("ss") is None, reason="no `ss` here (iproute2)")
def test_a_program_that_vanishes_does_not_hold_the_worker_for_good(beyond):
    host, port = beyond.split(":")
    connection, _ = greeting.connect(greeting.Server(beyond, host, int(port)))
    with connection:
        for _ in range(100):
            seen = ip("netns", "exec", SPACE, "ss", "-tnoH", "sport", "=", f":{port}").stdout
            if "keepalive" in seen:
                return
            time.sleep(0.1)
    pytest.fail(f"the worker would wait for good: {seen}")
