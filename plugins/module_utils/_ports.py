# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a TCP port, from procfs: no `ss`, no `lsof`, no root needed for the parsing."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_LISTEN = "0A"


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket: its address, port and the inode that names it in /proc/<pid>/fd."""

    address: str
    port: int
    inode: str


def _address(hexadecimal: str) -> str:
    """Kernel notation (host byte order words) to text: '0100007F' → '127.0.0.1'."""
    raw = bytes.fromhex(hexadecimal)
    words = struct.pack(f">{len(raw) // 4}I", *struct.unpack(f"<{len(raw) // 4}I", raw))
    if len(words) == 4:
        return socket.inet_ntop(socket.AF_INET, words)
    address = ipaddress.IPv6Address(words)
    return str(address.ipv4_mapped or address)


def parse_listeners(text: str) -> list[Listener]:
    """The listening sockets in the text of /proc/net/tcp or /proc/net/tcp6."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, port = fields[1].rsplit(":", 1)
            found.append(Listener(_address(address), int(port, 16), fields[9]))
    return found


def resolve(address: str) -> list[str]:
    """The IP addresses of an address or name, as this host sees them. Raises OSError for a name that it does not know."""
    return sorted({str(info[4][0]) for info in socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)})


def loopback_by_name(address: str, resolved: Sequence[str]) -> bool:
    """Whether a name stands for loopback alone without saying so, as Debian gives a host's own name in /etc/hosts.

    A server there is out of reach for everyone else, and no test on the host itself shows it.
    """
    return address not in (*resolved, "localhost") and all(ipaddress.ip_address(ip).is_loopback for ip in resolved)


def conflicts(listener: Listener, address: str, port: int) -> bool:
    """Whether `listener` keeps a server from binding address:port, an IP address. `::` takes IPv4 along."""
    if listener.port != port:
        return False
    if listener.address == address or "::" in (listener.address, address):
        return True
    return "0.0.0.0" in (listener.address, address) and (":" in listener.address) == (":" in address)


def parent_of(stat: str) -> int:
    """The parent's PID from the text of /proc/<pid>/stat; the command's name may hold anything."""
    return int(stat.rsplit(")", 1)[1].split()[1])


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def holders(addresses: Sequence[str], port: int, root: str = "/proc") -> list[dict[str, object]]:
    """The processes that hold the port on one of the IP addresses: [{"pid", "command", "ancestors": [pid, …]}].

    A listener whose process cannot be seen (no permission) is given with pid 0.
    """
    sockets = {
        listener.inode
        for name in ("tcp", "tcp6")
        for listener in parse_listeners(_text(f"{root}/net/{name}"))
        if any(conflicts(listener, address, port) for address in addresses)
    }
    if not sockets:
        return []
    found: list[dict[str, object]] = []
    for pid in (name for name in os.listdir(root) if name.isdigit()):
        inode = _holds(f"{root}/{pid}/fd", sockets)
        if inode is None:
            continue
        ancestors, current = [], int(pid)
        while current > 1:
            ancestors.append(current)
            stat = _text(f"{root}/{current}/stat")
            current = parent_of(stat) if stat else 0
        command = _text(f"{root}/{pid}/comm").strip()
        found.append({"pid": int(pid), "command": command, "ancestors": ancestors})
    return found or [{"pid": 0, "command": "a process that this user cannot see", "ancestors": []}]


def _holds(folder: str, sockets: set[str]) -> str | None:
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    for name in names:
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
        if match and match.group(1) in sockets:
            return match.group(1)
    return None
