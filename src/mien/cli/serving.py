"""What the commands that serve pages share: the listening socket, the address to open, and how they end."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from mien.cli.console import err, interrupted_by_sigterm, out
from mien.errors import InputError
from mien.files import printable

if TYPE_CHECKING:
    import uvicorn

__all__ = ["DEFAULT_HOST", "listen", "run", "tell_address"]

DEFAULT_HOST = "127.0.0.1"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; InputError where the port is taken or the host is not this machine's."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {printable(host)}: no address of this machine ({error})") from error
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where REUSEADDR would let two listen at once
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(f"port {port} of {printable(host)} cannot be used ({error.strerror or error}); stop what uses"
                         " it, or name another one with --port") from error  # fmt: skip
    return listening


def tell_address(listening: socket.socket, host: str, token: str | None, *, own: bool, what: str) -> str:
    """Print where a page is, and return that.

    own: only this machine reaches it.  what: is served, in words, and goes over the network where others reach it.
    """
    address = _address(host, listening.getsockname()[1], token)
    if not own:
        err.print(f"whoever can read this network's traffic sees {what} and the token; use it in a network of yours")
    out.print(address, markup=False, soft_wrap=True)
    out.file.flush()
    return address


def run(config: uvicorn.Config, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    import uvicorn

    with suppress(KeyboardInterrupt), interrupted_by_sigterm():  # it is how one ends this
        uvicorn.Server(config).run(sockets=[listening])


def _address(host: str, port: int, token: str | None) -> str:
    """Return the address at which a browser finds the page."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - every address of this machine, of which one is told
        host = _outward_address()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def _outward_address() -> str:
    """Return this machine's address in its network, or else its name.  Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of nobody (RFC 5737): it only has the system choose a way
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
