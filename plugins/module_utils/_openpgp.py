# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints of OpenPGP keys, without gpg: a fresh host may have none, and apt itself only verifies signatures.

Reads what a repository serves as its key, armoured or not (RFC 9580, sections 4.2, 5.5.4 and 6.2). Nothing is verified
here but that a key is the one that was named: signatures are for apt and dnf to check.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import typing as t

_BLOCK: t.Final = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)
_PUBLIC_KEY: t.Final = 6


class KeyFileError(ValueError):
    """What was served is no OpenPGP public key."""


def is_armoured(data: bytes) -> bool:
    return data.lstrip().startswith(b"-----BEGIN PGP")


def dearmour(data: bytes) -> bytes:
    """The keys as packets; data that is not armoured is taken as it is."""
    if not is_armoured(data):
        return data
    blocks = _BLOCK.findall(data)
    if not blocks:
        raise KeyFileError("an armour that does not hold a public key")
    packets = b""
    for block in blocks:
        # Headers such as `Version:` end at the first empty line; a line of `=` and four letters is the checksum.
        lines = [line.strip() for line in block.splitlines()]
        body = lines[lines.index(b"") + 1 :] if b"" in lines else lines
        text = b"".join(line for line in body if not line.startswith(b"="))
        try:
            packets += base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error) as error:
            raise KeyFileError(f"an armour that is damaged: {error}") from error
    return packets


def fingerprints(data: bytes) -> list[str]:
    """Of every primary key in a key file, in upper case without spaces. Raises KeyFileError."""
    found = [_fingerprint(body) for tag, body in _packets(dearmour(data)) if tag == _PUBLIC_KEY]
    if not found:
        raise KeyFileError("not an OpenPGP public key")
    return found


def _fingerprint(body: bytes) -> str:
    version = body[0] if body else 0
    if version == 4:
        # SHA-1 is what the version defines; it names the key, and no signature rests on it.
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324
    if version == 6:
        return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise KeyFileError(f"a key of version {version}; versions 4 and 6 are known")


def _packets(data: bytes) -> t.Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise KeyFileError("not an OpenPGP public key")
        at += 1
        try:
            if head & 0x40:
                tag, (length, at) = head & 0x3F, _new_length(data, at)
            else:
                tag, size = head >> 2 & 0x0F, 1 << (head & 3)
                if size == 8:
                    raise KeyFileError("a packet of no length")
                length, at = int.from_bytes(data[at : at + size], "big"), at + size
        except IndexError as error:
            raise KeyFileError("a key that is cut off") from error
        if at + length > len(data):
            raise KeyFileError("a key that is cut off")
        yield tag, data[at : at + length]
        at += length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    """Length of a packet in the newer format, and where its body starts. Keys have no partial lengths."""
    first = data[at]
    if first < 192:
        return first, at + 1
    if first < 224:
        return (first - 192 << 8) + data[at + 1] + 192, at + 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise KeyFileError("a packet of partial length")
