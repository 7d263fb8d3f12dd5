# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_load and bundle_weights send from a bundle, and when they ask nobody."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.action import bundle_weights, image_load
from ansible_collections.sglang.fleet.plugins.plugin_utils.bundle import SendError

IMAGE, MODEL = "lmsysorg/sglang:v1", "Org/Name"
MANIFEST, CONFIG, DIGEST = "sha256:aa", "sha256:bb", "sha256:dd"
BUNDLE = {
    "schema": 1,
    "lock": "ee",
    "images": {
        IMAGE: {
            "digest": DIGEST,
            "platforms": {"amd64": {"manifest": MANIFEST, "config": CONFIG, "blobs": [MANIFEST, CONFIG]}},
        }
    },
    "models": {MODEL: {"revision": "r1", "bytes": 2}},
    "files": {
        **{f"images/blobs/sha256/{name}": {"size": 10, "sha256": name} for name in ("aa", "bb")},
        f"weights/{MODEL}/r1/a.json": {"size": 2, "sha256": "cc"},
    },
}
PRESENT = {"present": True, "ansible_facts": {"fleet_local_image": {"id": CONFIG}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bundle.json").write_text(json.dumps(BUNDLE))
    return tmp_path


class Host:
    """What was sent to it, and what its module was asked and answered."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]
        self.sent: list[dict[str, Any]] = []
        self.failure: SendError | None = None

    def send(self, _action: Any, _variables: Any, **words: Any) -> int:
        if self.failure:
            raise self.failure
        self.sent.append(words)
        return sum(file["size"] for file in words["files"])

    def run(
        self, monkeypatch: pytest.MonkeyPatch, plugin: Any, images: list[Any], check: bool, **arguments: Any
    ) -> dict[str, Any]:
        def execute(module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
            assert task_vars["inventory_hostname"] == "n"
            self.asked.append(module_args)
            return self.answers.pop(0)

        monkeypatch.setattr(ActionBase, "run", lambda _self, _tmp, _variables: {})
        monkeypatch.setattr(plugin, "send", self.send)
        action = object.__new__(plugin.ActionModule)
        action._task = SimpleNamespace(args=arguments, check_mode=check)
        action._execute_module = execute
        variables = {"inventory_hostname": "n", "ansible_facts": {"container_engine": {"images": images}}}
        result: dict[str, Any] = action.run(None, variables)
        return result


def loaded(
    monkeypatch: pytest.MonkeyPatch,
    host: Host,
    folder: Path,
    *,
    images: Any = (),
    check: bool = False,
    **arguments: Any,
) -> dict[str, Any]:
    given = {"bundle": str(folder), "reference": IMAGE, "digest": DIGEST, "ids": [CONFIG, MANIFEST], **arguments}
    return host.run(monkeypatch, image_load, list(images), check, **given)


def test_an_image_that_the_facts_have_costs_no_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    seen = {"reference": IMAGE, "id": CONFIG, "digest": ""}
    done = loaded(monkeypatch, host, folder / "nowhere", images=[seen])
    assert done["changed"] is False
    assert done["ansible_facts"]["fleet_local_image"] == {"reference": IMAGE, "id": CONFIG, "digest": DIGEST}
    assert host.asked == []


def test_an_image_of_the_node_that_the_facts_have_not_is_not_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host({**PRESENT, "changed": False})
    assert loaded(monkeypatch, host, folder)["changed"] is False
    assert (len(host.asked), host.sent) == (1, [])


def test_an_image_is_sent_and_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host({"present": False, "changed": True}, {**PRESENT, "changed": True})
    assert loaded(monkeypatch, host, folder)["ansible_facts"] == PRESENT["ansible_facts"]
    [words] = host.sent
    assert (words["source"], words["target"], words["verify"]) == (str(folder), "/var/lib/sglang-fleet/incoming", True)
    assert [(file["path"], file["source"], file["size"]) for file in words["files"]] == [
        (f"sha256-{name}", f"images/blobs/sha256/{name}", 10) for name in ("aa", "bb")
    ]
    assert [asked["blobs"] for asked in host.asked] == [
        {"manifest": MANIFEST, "bytes": 20},
        {"manifest": MANIFEST, "bytes": 20, "sent": True},
    ]


def test_check_mode_sends_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host({"present": False, "changed": True})
    assert loaded(monkeypatch, host, folder, check=True)["changed"] is True
    assert host.sent == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": []}, "a bundle holds what a lock names, and there is no lock: put the bundle's fleet.lock.yml beside"),
        ({"reference": "other:v1"}, "the bundle has no image other:v1"),
        ({"bundle": "/nowhere"}, "/nowhere holds no whole bundle"),
    ],
)
def test_a_bundle_that_will_not_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    host = Host()
    done = loaded(monkeypatch, host, folder, **arguments)
    assert done["failed"]
    assert done["msg"].startswith(f"n: image {arguments.get('reference', IMAGE)}: {message}")


def test_a_file_that_cannot_be_sent_is_the_hosts_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host({"present": False, "changed": True})
    host.failure = SendError("x could not be sent")
    assert loaded(monkeypatch, host, folder)["msg"] == f"n: image {IMAGE}: x could not be sent"


@pytest.mark.parametrize(("check", "sent"), [(False, 1), (True, 0)])
def test_weights_are_sent_to_where_they_are_taken_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, check: bool, sent: int
) -> None:
    host = Host()
    words = {"bundle": str(folder), "repository": MODEL, "revision": "r1", "files": ["a.json"], "target": "/w/incoming"}
    done = host.run(monkeypatch, bundle_weights, [], check, **words)
    assert (done["changed"], done["bytes"], len(host.sent)) == (True, 2, sent)
    if sent:
        # The transfer that takes them verifies them.
        assert (host.sent[0]["target"], host.sent[0]["verify"]) == ("/w/incoming", False)
        assert host.sent[0]["files"] == [
            {"path": "a.json", "source": f"weights/{MODEL}/r1/a.json", "size": 2, "sha256": "cc"}
        ]


def test_weights_that_the_bundle_lacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"bundle": str(folder), "repository": MODEL, "revision": "r2", "files": ["a.json"], "target": "/w"}
    done = Host().run(monkeypatch, bundle_weights, [], False, **words)
    assert done["failed"]
    assert done["msg"].startswith(f"n: weights: the bundle lacks 1 files of {MODEL} at r2, such as a.json")
