# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file from one place: the real Hugging Face client and curl against a stand-in for the hub. tests/sglang has the same with the
clients of the server's images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _weights_fetch as fetch
from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import Layout, Wanted, wanted_files
from tests.unit.plugins.module_utils.weights_hub import FILES, REPOSITORY, REVISION, Hub, entries, serving

SHARD = "model-00002-of-00004.safetensors"
SHARD_SIZE = len(FILES[SHARD])


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as served:
        yield served


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path), REPOSITORY, REVISION)


def wanted(path: str = SHARD) -> Wanted:
    return next(item for item in wanted_files(entries()) if item.path == path)


def from_hub(layout: Layout, hub: Hub, path: str = SHARD, secret: str = "") -> dict[str, object]:
    return fetch.get(layout, wanted(path), {"kind": "hub", "place": "hub", "at": hub.endpoint}, secret)


def left(layout: Layout, size: int, path: str = SHARD) -> None:
    """What an earlier try left of a file."""
    os.makedirs(layout.blobs, exist_ok=True)
    Path(layout.partial(wanted(path))).write_bytes(FILES[path][:size])


# --- from the hub -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(FILES))
def test_whole_file(layout: Layout, hub: Hub, path: str) -> None:
    entry = from_hub(layout, hub, path)
    assert Path(layout.pointer(wanted(path))).read_bytes() == FILES[path]
    assert (entry["sha256"], entry["got"]) == (wanted(path).sha256, len(FILES[path]))
    assert os.listdir(layout.blobs) == [wanted(path).sha256]


def test_rest_of_a_file(layout: Layout, hub: Hub) -> None:
    left(layout, 1_000_000)
    assert from_hub(layout, hub)["got"] == SHARD_SIZE - 1_000_000
    assert hub.bytes == SHARD_SIZE - 1_000_000


def test_more_than_the_file(layout: Layout, hub: Hub) -> None:
    os.makedirs(layout.blobs)
    Path(layout.partial(wanted())).write_bytes(b"x" * (SHARD_SIZE + 1))
    assert from_hub(layout, hub)["got"] == SHARD_SIZE


def test_whole_file_that_has_no_name_yet_costs_no_byte(layout: Layout, hub: Hub) -> None:
    left(layout, SHARD_SIZE)
    assert from_hub(layout, hub)["got"] == 0
    assert hub.requests == []


def test_answer_that_is_cut_goes_on_where_it_ended(layout: Layout, hub: Hub) -> None:
    hub.faults = [{"match": SHARD, "times": 1, "cut": 2_500_000}]
    assert from_hub(layout, hub)["got"] == SHARD_SIZE
    assert hub.bytes <= SHARD_SIZE + 1_500_000  # what was on its way when it ended


def test_server_without_ranges(layout: Layout, hub: Hub) -> None:
    hub.ranges = False
    left(layout, 1_000_000)
    from_hub(layout, hub)
    assert Path(layout.pointer(wanted())).read_bytes() == FILES[SHARD]


def test_token_goes_to_the_hub_and_not_to_where_it_sends(layout: Layout, hub: Hub) -> None:
    hub.token = "hf_abc"
    from_hub(layout, hub, secret="hf_abc")
    said = {path.split("/")[1]: token for _method, path, _range, token in hub.requests}
    assert said == {"org": "Bearer hf_abc", "cdn": ""}


def test_wrong_bytes_are_not_kept(layout: Layout, hub: Hub) -> None:
    hub.faults = [{"match": SHARD, "times": 1, "flip": 2_000_000}]
    with pytest.raises(fetch.FetchError, match=f"{SHARD} from hub: SHA-256 is .*, locked {wanted().sha256}") as raised:
        from_hub(layout, hub)
    assert raised.value.kind == "wrong"
    assert os.listdir(layout.blobs) == []
    from_hub(layout, hub)


def test_another_file_than_the_lock_says_costs_no_byte(layout: Layout, hub: Hub) -> None:
    hub.files[SHARD] = FILES[SHARD][:-1] + b"!"
    with pytest.raises(fetch.FetchError, match=r"hub gives model-00002.* with SHA-256 [0-9a-f]{64}, locked") as raised:
        from_hub(layout, hub)
    assert (raised.value.kind, hub.bytes) == ("wrong", 0)


@pytest.mark.parametrize(
    ("status", "retry_after", "kind", "after", "said"),
    [
        (429, 7, "later", 7.0, "hub asks for 7 s of patience"),
        (401, None, "refused", 0.0, "fleet_hf_token"),
        (403, None, "refused", 0.0, "fleet_hf_token"),
        (404, None, "refused", 0.0, f"hub does not have {SHARD} of org/toy at 111"),
        (500, None, "again", 0.0, "HTTP 500"),
    ],
)
def test_hub_that_refuses(
    layout: Layout, hub: Hub, status: int, retry_after: int | None, kind: str, after: float, said: str
) -> None:
    more = {} if retry_after is None else {"retry_after": retry_after}
    hub.faults = [{"match": "resolve", "times": 99, "status": status, **more}]
    with pytest.raises(fetch.FetchError, match=said) as raised:
        from_hub(layout, hub)
    assert (raised.value.kind, raised.value.after) == (kind, after)


@pytest.mark.parametrize("status", [401, 403])
def test_signed_address_that_ran_out_is_asked_for_again(layout: Layout, hub: Hub, status: int) -> None:
    hub.faults = [{"match": "^/cdn/", "times": 1, "status": status}]
    with pytest.raises(fetch.FetchError, match=f"127.0.0.2:.*, to which hub sends.*HTTP {status}") as raised:
        from_hub(layout, hub)
    assert raised.value.kind == "again"
    assert from_hub(layout, hub)["got"] == SHARD_SIZE


def test_hub_that_is_not_there(layout: Layout, hub: Hub) -> None:
    hub.endpoint = "http://127.0.0.1:9"
    with pytest.raises(fetch.FetchError, match="hub: ") as raised:
        from_hub(layout, hub)
    assert raised.value.kind == "again"


# --- from a plain server ------------------------------------------------------------------------------------------------


def from_url(layout: Layout, hub: Hub, more: str = "") -> dict[str, object]:
    at = f"{hub.endpoint}/plain{more}"
    return fetch.get(layout, wanted(), {"kind": "http", "place": "shop", "at": at}, "")


@pytest.mark.parametrize("there", [0, 1_000_000])
def test_plain_server(layout: Layout, hub: Hub, there: int) -> None:
    if there:
        left(layout, there)
    assert from_url(layout, hub, "?sig=1")["got"] == SHARD_SIZE - there
    assert hub.bytes == SHARD_SIZE - there
    assert hub.requests[-1][1] == f"/plain/{SHARD}?sig=1"


def test_plain_server_that_cuts(layout: Layout, hub: Hub) -> None:
    hub.faults = [{"match": SHARD, "times": 1, "cut": 2_000_000}]
    with pytest.raises(fetch.FetchError, match="shop: curl: ") as raised:
        from_url(layout, hub)
    assert raised.value.kind == "again"
    from_url(layout, hub)
    assert hub.bytes == SHARD_SIZE


def test_plain_server_without_ranges(layout: Layout, hub: Hub) -> None:
    hub.ranges = False
    left(layout, 1_000_000)
    with pytest.raises(fetch.FetchError, match="shop cannot resume") as raised:
        from_url(layout, hub)
    assert raised.value.kind == "again"
    from_url(layout, hub)
    assert Path(layout.pointer(wanted())).read_bytes() == FILES[SHARD]


@pytest.mark.parametrize(("status", "kind"), [(404, "refused"), (429, "later"), (503, "again")])
def test_plain_server_that_refuses(layout: Layout, hub: Hub, status: int, kind: str) -> None:
    hub.faults = [{"match": "plain", "times": 1, "status": status, "retry_after": 3}]
    with pytest.raises(fetch.FetchError) as raised:
        from_url(layout, hub)
    assert (raised.value.kind, raised.value.after) == (kind, 3.0 if status == 429 else 0.0)


def test_plain_server_with_a_shorter_file(layout: Layout, hub: Hub) -> None:
    hub.files[SHARD] = FILES[SHARD][:-5]
    with pytest.raises(fetch.FetchError, match=f"{SHARD_SIZE - 5} bytes, locked {SHARD_SIZE}") as raised:
        from_url(layout, hub)
    assert raised.value.kind == "wrong"


def test_no_address_on_curls_command_line() -> None:
    text = fetch.curl_config("https://u:p@shop/a/?sig=1", "x/b c.bin", "/t", True)
    assert 'url = "https://u:p@shop/a/x/b%20c.bin?sig=1"\n' in text
    assert 'continue-at = "-"\n' in text
    assert "continue-at" not in fetch.curl_config("https://shop", "x", "/t", False)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", (0, {})),
        ("HTTP/1.1 200 OK\r\nA: b: c\r\n\r\n", (200, {"a": "b: c"})),
        ("HTTP/1.1 302 Found\r\nLocation: x\r\n\r\nHTTP/2 429 \r\nRetry-After: 3\r\n\r\n", (429, {"retry-after": "3"})),
        ("HTTP/1.1\r\n", (0, {})),
    ],
)
def test_last_answer(text: str, answer: tuple[int, dict[str, str]]) -> None:
    assert fetch.last_answer(text) == answer


# --- from a folder, and what is here --------------------------------------------------------------------------------------


def test_folder(layout: Layout, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    origin = {"kind": "folder", "place": "mine", "at": str(folder)}
    with pytest.raises(fetch.FetchError, match=f"mine does not have {SHARD}"):
        fetch.get(layout, wanted(), origin, "")
    (folder / SHARD).write_bytes(FILES[SHARD][:-1])
    with pytest.raises(fetch.FetchError, match=f"size of {SHARD} is {SHARD_SIZE - 1}, locked {SHARD_SIZE}"):
        fetch.get(layout, wanted(), origin, "")
    (folder / SHARD).write_bytes(FILES[SHARD])
    left(layout, 1_000_000)
    assert fetch.get(layout, wanted(), origin, "")["got"] == SHARD_SIZE - 1_000_000
    assert Path(layout.pointer(wanted())).read_bytes() == FILES[SHARD]


def test_file_of_somebody_else_keeps_its_mode(layout: Layout, tmp_path: Path) -> None:
    """A name of a folder's own file in the cache: what happens to one happens to the other."""
    mine = tmp_path / "mine"
    mine.write_bytes(FILES[SHARD])
    mine.chmod(0o640)
    os.makedirs(layout.blobs)
    os.link(mine, layout.partial(wanted()))
    fetch.finish(layout, wanted(), "mine")
    assert mine.stat().st_mode & 0o777 == 0o640


def test_present(layout: Layout, hub: Hub) -> None:
    from_hub(layout, hub)
    here = {"kind": "present", "place": "this host", "at": ""}
    assert fetch.get(layout, wanted(), here, "")["got"] == 0
    os.unlink(layout.pointer(wanted()))
    fetch.get(layout, wanted(), here, "")  # the blob alone gets its name back
    with open(layout.pointer(wanted()), "r+b") as handle:
        handle.write(b"!")
    with pytest.raises(fetch.FetchError, match=f"SHA-256 is .*, locked {wanted().sha256}"):
        fetch.get(layout, wanted(), here, "")
    assert not os.path.lexists(layout.pointer(wanted()))
    assert os.listdir(layout.blobs) == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "12"}, 12.0),
        ({"retry-after": "0"}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"Retry-After": "soon"}, 5.0),
        ({}, 5.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float) -> None:
    assert fetch.retry_after(headers, now=60.0) == seconds
