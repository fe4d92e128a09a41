"""How we show ourselves to the nodes, and by what we know them (CH-03)."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from fintokenx.kernel.settings import BadSettings


def client_context(*, authorities: str = "", certificate: str = "", key_pem: str = "") -> ssl.SSLContext:
    """TLS 1.3 towards the nodes.

    ``authorities`` is the path of the certificates to trust (PEM; empty: the machine's), ``certificate`` of the one
    that we show (empty: none), ``key_pem`` its key from the vault.

    :raises BadSettings: a file is missing or is not what it should be, or the key is not the certificate's
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        if authorities:
            context.load_verify_locations(authorities)
        else:
            context.load_default_certs()
        if certificate:
            with _in_memory(key_pem) as key:
                context.load_cert_chain(certificate, key)
    except OSError as fault:  # an SSLError is one too
        raise BadSettings(f"TLS towards the chain: {fault.strerror or fault}") from fault
    return context


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path under which OpenSSL reads the text, which takes files only; this one is never on a disk (Linux)."""
    descriptor = os.memfd_create("chain-client-key", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
