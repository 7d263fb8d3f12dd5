# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fingerprints of key files. The keys are the samples of RFC 9580, appendix A.1 and A.3, with the fingerprints given there."""

from __future__ import annotations

import base64

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import (
    KeyFileError,
    dearmour,
    fingerprints,
    is_armoured,
)

V4 = b"""-----BEGIN PGP PUBLIC KEY BLOCK-----

xjMEU/NfCxYJKwYBBAHaRw8BAQdAPwmJlL3ZFu1AUxl5NOSofIBzOhKA1i+AEJku
Q+47JAY=
-----END PGP PUBLIC KEY BLOCK-----
"""
V4_FINGERPRINT = "C959BDBAFA32A2F89A153B678CFDE12197965A9A"
V6_PRIMARY = base64.b64decode("xioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laM=")
V6_FINGERPRINT = "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"


def test_the_fingerprint_of_an_armoured_key() -> None:
    assert is_armoured(V4)
    assert fingerprints(V4) == [V4_FINGERPRINT]


def test_the_fingerprint_of_the_same_key_without_armour() -> None:
    assert not is_armoured(dearmour(V4))
    assert fingerprints(dearmour(V4)) == [V4_FINGERPRINT]


def test_a_key_of_version_6() -> None:
    assert fingerprints(V6_PRIMARY) == [V6_FINGERPRINT]


def test_every_primary_key_of_a_file_counts_and_no_subkey() -> None:
    subkey = bytes([0xC0 | 14]) + dearmour(V4)[1:]
    assert fingerprints(dearmour(V4) + subkey + V6_PRIMARY) == [V4_FINGERPRINT, V6_FINGERPRINT]
    assert fingerprints(V4 + V4) == [V4_FINGERPRINT, V4_FINGERPRINT]


def test_headers_and_checksum_of_an_armour_are_no_key() -> None:
    text = V4.replace(b"BLOCK-----\n\n", b"BLOCK-----\r\nVersion: GnuPG v2\r\nComment: x=y\r\n\r\n")
    assert fingerprints(text.replace(b"JAY=\n", b"JAY=\n=GDZh\n")) == [V4_FINGERPRINT]


def test_a_packet_of_the_older_format() -> None:
    body = dearmour(V4)[2:]
    assert fingerprints(b"\x98" + bytes([len(body)]) + body) == [V4_FINGERPRINT]
    assert fingerprints(b"\x99" + len(body).to_bytes(2, "big") + body) == [V4_FINGERPRINT]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>404</html>", "not an OpenPGP public key"),
        (b"", "not an OpenPGP public key"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxx\n", "an armour that does not hold a public key"),
        (V4.replace(b"xjME", b"x*ME"), "an armour that is damaged"),
        (dearmour(V4)[:20], "a key that is cut off"),
        (dearmour(V4)[:1], "a key that is cut off"),
        (b"\xc6\x02\x03\x00", "a key of version 3; versions 4 and 6 are known"),
    ],
)
def test_what_is_no_key_says_so(data: bytes, message: str) -> None:
    with pytest.raises(KeyFileError, match=message):
        fingerprints(data)
