"""One document in a process that can do nothing else: the end of the wire that is not trusted.

The wire, both ways on one socket: four numbers (address space in bytes, processor seconds, length of the order,
length of the document), the order, the document; back come the answer's length and the answer.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from struct import Struct
from typing import Final

HEADER: Final = Struct(">QQQQ")
LENGTH: Final = Struct(">Q")

Answerer = Callable[[bytes, bytes], bytes]
"""Answers an order about a document."""

# Far beyond what there can be: nothing is handed down but the first three, and new ones get the lowest free number.
_DESCRIPTORS_END: Final = 1 << 16
# prctl(2), from linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


def work(descriptor: int, answer: Answerer) -> None:
    """Take the one order that comes on the socket ``descriptor``, answer it, and end this process.

    Whatever goes wrong ends it, too: the other end sees that no answer came.
    """
    try:
        os.environ.clear()
        if descriptor:  # an empty range from 0 on would close all
            os.closerange(0, descriptor)
        os.closerange(descriptor + 1, _DESCRIPTORS_END)
        connection = socket.socket(fileno=descriptor)
        address_space_bytes, processor_seconds, order_length, content_length = HEADER.unpack(
            _received(connection, HEADER.size)
        )
        _confine(address_space_bytes=address_space_bytes, processor_seconds=processor_seconds)
        order = _received(connection, order_length)
        said = answer(order, _received(connection, content_length))
        connection.sendall(LENGTH.pack(len(said)) + said)
        os._exit(0)
    finally:
        os._exit(1)


def _received(connection: socket.socket, length: int) -> bytes:
    content = bytearray(length)
    view = memoryview(content)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(content)


def _confine(*, address_space_bytes: int, processor_seconds: int) -> None:
    """From here on no file can be opened, no socket made, no byte written to a file.

    ``RLIMIT_NPROC`` counts a user's processes and does not hold root: it is one more bar where it does hold.
    """
    no_new_privileges()
    for limit, value in (
        (resource.RLIMIT_AS, address_space_bytes),
        (resource.RLIMIT_CPU, processor_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))


def no_new_privileges() -> None:
    """No program that this process may run gives it more than it has (Linux; nothing elsewhere)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def unreadable() -> None:
    """No other process of this user may look into this one or into its children (Linux; nothing elsewhere)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def ends_with(parent: int) -> None:
    """Let the kernel end this process when the process ``parent`` ends (Linux; nothing elsewhere)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
