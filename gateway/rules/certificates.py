"""The names that a certificate is for, and which of several a client asked for.

A reader of exactly what is needed: the ``subjectAltName`` of a certificate of the operator's own,
which OpenSSL has accepted before.

Source: RFC 5280 sections 4.1 and 4.2.1.6, RFC 6125 section 6.4.3, X.690 for the encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

_SEQUENCE, _OCTETS, _EXTENSIONS, _DNS_NAME = 0x30, 0x04, 0xA3, 0x82
_SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")

Certificate = TypeVar("Certificate")


def dns_names(der: bytes) -> tuple[str, ...]:
    """Return the DNS names of a certificate, lower-case; wildcards as ``*.example.com``.

    Raises:
        ValueError: This is no certificate.
    """
    try:
        [(_, certificate)] = _parts(der)
        body = next(_parts(certificate))[1]
        for tag, value in _parts(body):
            if tag == _EXTENSIONS:
                return tuple(_names(value))
    except (StopIteration, IndexError) as error:
        raise ValueError("this is no certificate") from error
    return ()


def find_certificate(
    certificates: Mapping[str, Certificate], name: str | None
) -> Certificate | None:
    """Return the certificate for a name that a client asks for: exact, or else by wildcard."""
    if not name:
        return None
    host = name.lower().removesuffix(".")
    exact = certificates.get(host)
    return certificates.get(f"*.{host.partition('.')[2]}") if exact is None else exact


def _names(extensions: bytes) -> Iterator[str]:
    for _, extension in _parts(next(_parts(extensions))[1]):
        if not extension.startswith(_SUBJECT_ALT_NAME):
            continue
        octets = [value for tag, value in _parts(extension) if tag == _OCTETS]
        for tag, value in _parts(next(_parts(octets[0]))[1]):
            if tag == _DNS_NAME:
                yield value.decode("ascii", "replace").lower()


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of the values that follow each other."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise IndexError
        yield tag, data[at : at + length]
        at += length
