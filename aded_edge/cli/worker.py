"""`worker`: lend this machine to a model that another machine runs.

Knows options, and how a worker is warned about. Does not know what it evaluates.
"""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys

import click

from aded_edge.errors import ConfigError
from aded_edge.llamacpp.worker import PROTOCOL, check_place, serve

from .options import THREADS, Command
from .output import say

PORT = 50052
"""llama.cpp's own default."""


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True)
@THREADS
@click.option(
    "--open-to-network",
    is_flag=True,
    help="Needed for an address other than this machine's own: whoever reaches it may use it.",
)
def worker(host: str, port: int, threads: int, open_to_network: bool) -> None:
    """Lend this machine to a model that runs on another one, until Ctrl-C.

    The other machine names it: aded-edge chat MODEL --rpc HOST:PORT. There is no authentication and
    no encryption: whoever reaches the port can use this machine, read what is computed on it and
    end the worker. It serves one model at a time.
    """
    address = _address(host)
    if not ipaddress.ip_address(address).is_loopback:
        if not open_to_network:
            raise ConfigError(
                f"--host {host} lets every machine that reaches it use this one, without "
                "authentication and encryption; add --open-to-network if you trust that network, "
                "or stay on 127.0.0.1 and let the other machine come by "
                f"ssh -L {port}:127.0.0.1:{port}"
            )
        say(
            f"warning: every machine that reaches {address} can use this one, read what is "
            "computed here and end this worker",
            err=True,
        )
    check_place(address, port)
    say(
        f"worker on {address}:{port} (RPC protocol {PROTOCOL}): no authentication, no encryption; "
        "Ctrl-C ends it",
        err=True,
    )
    sys.stderr.flush()
    # llama.cpp does not return to Python, which could handle a signal only then. Nothing is to be
    # saved, so the signals end the process themselves.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    serve(address, port, threads)


def _address(host: str) -> str:
    """The IPv4 address that a name or an address stands for.

    Raises:
        ConfigError: there is none.
    """
    try:
        return socket.gethostbyname(host or "?")  # an empty name would stand for 0.0.0.0
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--host {host} stands for no IPv4 address, and llama.cpp's workers have no other; "
            "give 127.0.0.1, or an address of this machine"
        ) from error
