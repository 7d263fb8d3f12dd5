# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file of the weights is the locked one."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import (
    DAMAGED,
    MISSING,
    UNVERIFIED,
    VERIFIED,
    Layout,
    Wanted,
    bytes_needed,
    disk_problem,
    hashed,
    header_problem,
    link_folder,
    link_in,
    look_at,
    read_record,
    record_of,
    survey,
    throw_away,
    wanted_files,
    write_json,
)
from tests.unit.plugins.module_utils.weights_hub import FILES, REPOSITORY, REVISION, entries, safetensors

SHARD = "model-00002-of-00004.safetensors"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A folder that has every file, verified and recorded."""
    made = Layout(str(tmp_path), REPOSITORY, REVISION)
    for wanted in wanted_files(entries()):
        os.makedirs(made.blobs, exist_ok=True)
        Path(made.blob(wanted)).write_bytes(FILES[wanted.path])
        link_in(made, wanted)
    write_json(made.record, record_of(made, hashed(made, survey(made, wanted_files(entries())), 2)))
    return made


def found_in(layout: Layout, **more: Any) -> dict[str, tuple[str, str]]:
    """path → state and reason, of what is not verified."""
    found = hashed(layout, survey(layout, wanted_files(entries()), **more), 2)
    return {item.wanted.path: (item.state, item.reason) for item in found if item.state != VERIFIED}


def shard(layout: Layout) -> Path:
    return Path(layout.snapshot) / SHARD


def test_layout_is_the_hub_caches(layout: Layout) -> None:
    assert layout.snapshot.endswith(f"/hub/models--org--toy/snapshots/{REVISION}")
    assert layout.record.endswith(f"/.sglang-fleet/org--toy@{REVISION}.json")
    assert os.readlink(shard(layout)).startswith("../../blobs/")
    assert os.readlink(Path(layout.snapshot) / "sub/empty.txt").startswith("../../../blobs/")
    assert found_in(layout) == {}


@pytest.mark.parametrize(
    ("path", "sha256", "said"),
    [
        ("/etc/passwd", "a" * 64, "no path below a folder"),
        ("a/../../b", "a" * 64, "no path below a folder"),
        ("a//b", "a" * 64, "no path below a folder"),
        ("a\\b", "a" * 64, "no path below a folder"),
        ("", "a" * 64, "no path below a folder"),
        ("a", "a" * 63, "64 hex digits are wanted"),
        ("a", "g" * 64, "64 hex digits are wanted"),
    ],
)
def test_lock_that_names_no_file(path: str, sha256: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wanted_files([{"path": path, "size": 1, "sha256": sha256}])


def test_checksum_in_capitals_is_the_same() -> None:
    assert wanted_files([{"path": "a", "size": 1, "sha256": "A" * 64}]) == [Wanted("a", 1, "a" * 64)]


GOOD = safetensors(100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD, ""),
        (struct.pack("<Q", 2) + b"{}", ""),
        (struct.pack("<Q", 20) + b'{"__metadata__": {} }'[:20], "safetensors header: not readable"),
        (b"", "safetensors header: the file ends within its first 8 bytes"),
        (b"1234567", "safetensors header: the file ends within its first 8 bytes"),
        (bytes(64) + GOOD[64:], f"safetensors header: a length of 0 bytes in a file of {len(GOOD)}"),
        (b"\xff" * 8 + GOOD[8:], f"safetensors header: a length of {2**64 - 1} bytes in a file of {len(GOOD)}"),
        (GOOD[:8] + b"[" + GOOD[9:], "safetensors header: not readable"),
        (GOOD[:-1], f"safetensors header: the tensors need {len(GOOD)} bytes, the file has {len(GOOD) - 1}"),
        (GOOD + b"x", f"safetensors header: the tensors need {len(GOOD)} bytes, the file has {len(GOOD) + 1}"),
        (struct.pack("<Q", 9) + b'{"t": {}}', "safetensors header: not readable"),
        (struct.pack("<Q", 4) + b"[12]", "safetensors header: not readable"),
    ],
)
def test_header(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert header_problem(str(path), len(content)) == said


def test_one_byte_changed(layout: Layout) -> None:
    with shard(layout).open("r+b") as handle:
        handle.seek(2_000_000)
        handle.write(b"!")
    [(path, (state, reason))] = found_in(layout).items()
    assert (path, state) == (SHARD, DAMAGED)
    assert reason.startswith("SHA-256 is ")
    assert f"locked {next(entry['sha256'] for entry in entries() if entry['path'] == SHARD)}" in reason


def test_one_byte_changed_and_the_time_put_back(layout: Layout) -> None:
    """What the record cannot see, `always` does."""
    path = shard(layout)
    before = path.stat()
    with path.open("r+b") as handle:
        handle.seek(2_000_000)
        handle.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found_in(layout) == {}
    assert list(found_in(layout, always=True)) == [SHARD]


def test_cut_short(layout: Layout) -> None:
    os.truncate(shard(layout), 1000)
    assert found_in(layout) == {SHARD: (DAMAGED, "size is 1000, locked 3000082")}


def test_header_zeroed_is_seen_without_hashing(layout: Layout) -> None:
    path = shard(layout)
    before = path.stat()
    with path.open("r+b") as handle:
        handle.write(bytes(16))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found_in(layout) == {SHARD: (DAMAGED, "safetensors header: a length of 0 bytes in a file of 3000082")}


def test_removed(layout: Layout) -> None:
    shard(layout).resolve().unlink()
    assert found_in(layout) == {SHARD: (MISSING, "")}
    os.makedirs(layout.blobs, exist_ok=True)
    wanted = next(wanted for wanted in wanted_files(entries()) if wanted.path == SHARD)
    Path(layout.partial(wanted)).write_bytes(b"x" * 1000)
    assert bytes_needed(survey(layout, wanted_files(entries()))) == wanted.size - 1000


def test_copied_file_is_hashed_again_and_is_right(layout: Layout) -> None:
    """Another inode and time; the same content."""
    path = shard(layout).resolve()
    path.rename(path.with_name("other"))
    path.write_bytes(FILES[SHARD])
    path.with_name("other").unlink()
    [item] = [item for item in survey(layout, wanted_files(entries())) if item.state != VERIFIED]
    assert item.state == UNVERIFIED
    assert item.reason.startswith("changed since it was verified (")
    assert found_in(layout) == {}


def test_without_a_record_everything_is_hashed(layout: Layout) -> None:
    Path(layout.record).write_text("{torn")
    assert read_record(layout.record) == {}
    assert {item.state for item in survey(layout, wanted_files(entries()))} == {UNVERIFIED}
    assert found_in(layout) == {}


def test_record_of_another_content_does_not_count(layout: Layout) -> None:
    record = read_record(layout.record)
    record[SHARD]["sha256"] = "0" * 64
    Path(layout.record).write_text(json.dumps(record))
    assert [item.reason for item in survey(layout, wanted_files(entries())) if item.state != VERIFIED] == [
        "never verified"
    ]


def test_blob_without_its_name(layout: Layout) -> None:
    """As after a power cut between the two."""
    shard(layout).unlink()
    [item] = [item for item in survey(layout, wanted_files(entries())) if item.state != VERIFIED]
    assert (item.state, item.reason) == (UNVERIFIED, "not in the revision's folder yet")
    assert bytes_needed([item]) == 0


def test_folder_in_a_files_place(layout: Layout) -> None:
    shard(layout).unlink()
    shard(layout).mkdir()
    wanted = next(wanted for wanted in wanted_files(entries()) if wanted.path == SHARD)
    assert look_at(layout, wanted, {}).reason == "is no file"


def test_throw_away_leaves_nothing_of_the_file_and_all_of_the_others(layout: Layout) -> None:
    wanted = next(wanted for wanted in wanted_files(entries()) if wanted.path == SHARD)
    blob = shard(layout).resolve()
    throw_away(layout, wanted)
    assert not blob.exists()
    assert not os.path.lexists(shard(layout))
    assert list(found_in(layout)) == [SHARD]


def test_throw_away_spares_what_a_link_names_outside(layout: Layout, tmp_path: Path) -> None:
    outside = tmp_path / "mine"
    outside.write_bytes(b"mine")
    shard(layout).unlink()
    shard(layout).symlink_to(outside)
    throw_away(layout, next(wanted for wanted in wanted_files(entries()) if wanted.path == SHARD))
    assert outside.read_bytes() == b"mine"
    assert not os.path.lexists(shard(layout))


def test_link_in_replaces_what_is_there(layout: Layout) -> None:
    wanted = next(wanted for wanted in wanted_files(entries()) if wanted.path == SHARD)
    shard(layout).unlink()
    shard(layout).write_bytes(b"old")
    link_in(layout, wanted)
    assert shard(layout).read_bytes() == FILES[SHARD]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("what", ["stat", "open"])
def test_file_that_cannot_be_read_is_no_damage(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, number: int, what: str
) -> None:
    real: Any = {"stat": os.stat, "open": open}[what]

    def failing(path: Any, *words: Any, **more: Any) -> Any:
        if str(path).endswith(SHARD):
            raise OSError(number, os.strerror(number), path)
        return real(path, *words, **more)

    monkeypatch.setattr("os.stat" if what == "stat" else "builtins.open", failing)
    with pytest.raises(OSError, match=r"cannot be read .*, and nothing was removed: see to the disk") as raised:
        survey(layout, wanted_files(entries()))
    assert str(raised.value.filename).endswith(SHARD)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device: /w/x"),
        (
            errno.EROFS,
            "Read-only file system: /w/x. Root of the host must be able to write to /w, .* fleet_weights to server",
        ),
        (errno.EACCES, "Permission denied: /w/x. Root of the host .* .without root_squash"),
    ],
)
def test_folder_that_cannot_be_written_to(number: int, said: str) -> None:
    assert re.match(said, disk_problem(OSError(number, os.strerror(number), "/w/x"), "/w"))


def test_folder_on_the_same_disk_is_linked_not_copied(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    for path, data in FILES.items():
        (folder / path).write_bytes(data)
    (folder / SHARD).write_bytes(b"short")
    layout = Layout(str(tmp_path / "w"), REPOSITORY, REVISION)
    link_folder(layout, wanted_files(entries()), str(folder))
    for wanted in wanted_files(entries()):
        partial = Path(layout.partial(wanted))
        assert partial.exists() is (wanted.path != SHARD)  # an unfinished one would be written on
        if partial.exists():
            assert partial.stat().st_ino == (folder / wanted.path).stat().st_ino
