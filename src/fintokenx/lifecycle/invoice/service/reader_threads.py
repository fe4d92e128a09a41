"""The document reader off the event loop: in threads of its own, and ended when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Final

from fintokenx.lifecycle.invoice.ports import DocumentKind, DocumentReader, Reading

_THREADS: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="documents")
"""Not the loop's own: what signs payments and seals data runs there, and must wait for no document."""


async def read(reader: DocumentReader, content: bytes) -> Reading:
    """As the port's ``read``. When this is cancelled, the process that reads is ended.

    :raises DocumentRefused: a named subclass
    """
    given_up = Event()
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, reader.read, content, given_up)
    finally:
        given_up.set()


async def inspect(reader: DocumentReader, content: bytes) -> DocumentKind:
    """As the port's ``inspect``. :raises DocumentRefused: a named subclass"""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, reader.inspect, content)
