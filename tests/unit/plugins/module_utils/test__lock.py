# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._lock import (
    LockError,
    check_plan,
    differences,
    image_lock,
    load_lock,
    lock_digest,
    locked_plan,
    make_lock,
    plan_entry,
    read_lock,
    render_lock,
    weights_lock,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
IMAGE = "lmsysorg/sglang:v0.5.10.post1"
REPOSITORY = "MiniMaxAI/MiniMax-M2.7"
IMAGES: dict[str, t.Any] = {
    IMAGE: {
        "digest": A,
        "platforms": {
            "arm64": {"manifest": C, "config": B, "bytes": 20},
            "amd64": {"manifest": B, "config": C, "bytes": 10},
        },
    }
}
MODELS: dict[str, t.Any] = {
    REPOSITORY: {
        "revision": "d" * 40,
        "bytes": 7,
        "files": [
            {"path": "model.safetensors", "size": 5, "sha256": "e" * 64},
            {"path": "config.json", "size": 2, "sha256": "0123456789" * 6 + "0000"},
        ],
    }
}


def entry(gpu: str = "H200", count: int = 8, **wishes: t.Any) -> dict[str, t.Any]:
    catalogue = load_catalogue()
    return plan_entry(make_plan(catalogue, facts_for(catalogue, gpu, count), Wishes(**wishes)).to_dict())


def lock(*plans: dict[str, t.Any]) -> dict[str, t.Any]:
    return make_lock(IMAGES, MODELS, plans or (entry(),))


def changed(change: t.Callable[[dict[str, t.Any]], None]) -> dict[str, t.Any]:
    other = copy.deepcopy(lock())
    change(other)
    return other


def test_the_entry_of_a_plan() -> None:
    assert entry() == {
        "model": "MiniMax-M2.7",
        "gpu": "H200",
        "count": 8,
        "layout": "1x8",
        "profile": "hardened",
        "image": IMAGE,
        "sglang_version": "0.5.10.post1",
        "driver": {"name": "nvidia", "minimum": "575"},
        "patches": {},
        "server_args": {
            "model-path": REPOSITORY,
            "tp-size": 8,
            "ep-size": 8,
            "tool-call-parser": "minimax-m2",
            "reasoning-parser": "minimax-append-think",
            "trust-remote-code": True,
            "mem-fraction-static": 0.85,
        },
        "environment": {},
    }


@pytest.mark.parametrize(
    "wishes",
    [
        {"port": 30500},
        {"address": "10.0.0.7"},
        {"weights_dir": "/srv/weights"},
        {"extra_args": {"revision": "main"}},
    ],
)
def test_what_is_the_hosts_own_is_not_locked(wishes: dict[str, t.Any]) -> None:
    assert entry(**wishes) == entry()


def test_where_an_instances_gpus_begin_is_not_locked() -> None:
    """With a profile that shows every GPU, the links between a node's GPUs can have its first server begin anywhere."""
    catalogue = load_catalogue()
    plan = make_plan(catalogue, facts_for(catalogue, "MI300X", 8), Wishes(layout="2x4", profile="cookbook")).to_dict()
    before = plan_entry(plan)
    plan["instances"].reverse()
    assert plan["instances"][0]["server_args"]["base-gpu-id"] == 4
    assert plan_entry(plan) == before


def test_a_patch_is_locked_by_what_it_does() -> None:
    amd = entry("MI300X", 4, model="M2.1")
    assert sorted(amd["patches"]) == ["minimax-m2-torch-compile", "transformers-module-name"]
    assert {len(value) for value in amd["patches"].values()} == {64}
    patch = {"name": "mine", "file": "srt/a.py", "action": "comment_line", "line": "x = 1", "why": "w", "source": "s"}
    mine = entry(patches=(patch,))["patches"]["mine"]
    assert entry(patches=({**patch, "why": "other"},))["patches"]["mine"] == mine
    assert entry(patches=({**patch, "line": "x = 2"},))["patches"]["mine"] != mine


def test_the_order_is_the_same_whatever_comes_first() -> None:
    plans = [entry(), entry(count=4), entry("B200"), entry(layout="2x4"), entry(mem_fraction_static=0.8)]
    text = render_lock(make_lock(IMAGES, MODELS, plans))
    turned = {
        name: {**image, "platforms": dict(reversed(image["platforms"].items()))} for name, image in IMAGES.items()
    }
    again = [dict(reversed(plan.items())) for plan in reversed([*plans, entry()])]
    assert render_lock(make_lock(turned, MODELS, again)) == text
    assert list(make_lock(turned, MODELS, ())["images"][IMAGE]["platforms"]) == ["amd64", "arm64"]
    assert [file["path"] for file in lock()["models"][REPOSITORY]["files"]] == ["config.json", "model.safetensors"]


def test_the_file(tmp_path: Path) -> None:
    text = render_lock(lock())
    assert text.splitlines()[:9] == [
        "---",
        "# Written by `sglang-fleet lock`; see docs/decisions/0011. Keep it in version control.",
        "plugin: sglang.fleet.lock",
        "schema: 1",
        "images:",
        f"  {IMAGE}:",
        f"    digest: {A}",
        "    platforms:",
        f"      amd64: {{manifest: '{B}', config: '{C}', bytes: 10}}",
    ]
    assert f"      - {{path: model.safetensors, size: 5, sha256: {'e' * 64}}}" in text
    assert "      mem-fraction-static: 0.85" in text
    file = tmp_path / "fleet.lock.yml"
    file.write_text(text, "utf-8")
    assert load_lock(file) == lock()
    assert lock_digest(lock()) == lock_digest(yaml.safe_load(text))
    # A digest of digits alone is a string too.
    assert (
        lock()["models"][REPOSITORY]["files"][0]["sha256"]
        == yaml.safe_load(text)["models"][REPOSITORY]["files"][0]["sha256"]
    )


def test_the_digest_is_of_what_the_lock_says() -> None:
    assert lock_digest(lock()) == lock_digest(dict(reversed(lock().items())))
    assert lock_digest(lock()) != lock_digest(lock(entry(count=4)))


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    assert load_lock(tmp_path / "fleet.lock.yml") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the lock {file} is not YAML: while parsing"),
        (
            "",
            "the lock {file} is not right: the file is None: it must be a mapping. Bring back a good one from version",
        ),
        ("- 1", "the lock {file} is not right: the file is [1]: it must be a mapping"),
        ("schema: 2", "the lock {file} has schema 2, and this version of the collection knows 1: install a newer one"),
        ("\xff", "cannot read the lock {file}: it is not UTF-8 text"),
    ],
)
def test_files_that_are_no_lock(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "fleet.lock.yml"
    file.write_text(text, "latin-1")
    with pytest.raises(LockError) as caught:
        load_lock(file)
    assert message.format(file=file) in str(caught.value)


def test_a_folder_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=f"cannot read the lock {tmp_path}: Is a directory"):
        load_lock(tmp_path)


def _file(**new: t.Any) -> t.Callable[[dict[str, t.Any]], None]:
    return lambda lock: lock["models"][REPOSITORY]["files"][0].update(new)


WRONG: list[tuple[t.Callable[[dict[str, t.Any]], t.Any], str]] = [
    (lambda lock: lock.pop("plugin"), "the file has no plugin"),
    (lambda lock: lock.update(more=1), "more is unknown: known are plugin, schema, images, models, plans"),
    (lambda lock: lock["images"][IMAGE].update(digest="latest"), f"images.{IMAGE}.digest is 'latest'"),
    (lambda lock: lock["images"][IMAGE].update(platforms={}), f"images.{IMAGE}.platforms is empty"),
    (lambda lock: lock["models"][REPOSITORY].update(revision="main"), f"models.{REPOSITORY}.revision is 'main'"),
    (lambda lock: lock["models"].update({"M2": MODELS[REPOSITORY]}), "models.M2: the name must match"),
    (lambda lock: lock["models"].update({"../M2": MODELS[REPOSITORY]}), "models.../M2: the name must match"),
    (lambda lock: lock["models"][REPOSITORY].update(bytes=8), f"models.{REPOSITORY}.bytes is 8, and its files have 7"),
    (_file(sha256="E" * 64), f"models.{REPOSITORY}.files[0].sha256 is"),
    (_file(path="model.safetensors"), f"models.{REPOSITORY} lists model.safetensors twice"),
    *[
        (_file(path=path), f"models.{REPOSITORY}.files[0].path is {path!r}")
        for path in ("", "/etc/passwd", "../x", "a/../x", "a/..", ".", "./a", "a//b", "a/", "a\nb", "a\\b", "é")
    ],
    (lambda lock: lock["plans"][0].update(layout="auto"), "plans[0].layout is 'auto'"),
    (
        lambda lock: lock["plans"][0].update(image="other:v1"),
        "a plan of MiniMax-M2.7 on 8 x H200 has the image other:v1, which images lacks",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_locks_that_are_not_right(change: t.Callable[[dict[str, t.Any]], None], message: str) -> None:
    with pytest.raises(LockError) as caught:
        read_lock(changed(change), "fleet.lock.yml")
    assert str(caught.value).startswith(f"the lock fleet.lock.yml is not right: {message}")


@pytest.mark.parametrize("path", ["a", ".hidden", "a/b.json", "..a", "a b (1).txt", "x@2", "a+b=c", "a/.b"])
def test_paths_that_a_repository_has(path: str) -> None:
    assert read_lock(changed(_file(path=path)), "x")


def test_a_long_list_of_findings_is_cut() -> None:
    many = changed(lambda lock: lock["models"][REPOSITORY]["files"].extend([{"path": "x"}] * 30))
    with pytest.raises(LockError, match=r"; and 50 more\. Bring back"):
        read_lock(many, "x")


DIFFERENCES: list[tuple[dict[str, t.Any], list[str]]] = [
    ({}, []),
    ({"profile": "cookbook"}, ["profile cookbook, locked hardened"]),
    ({"mem_fraction_static": 0.9}, ["server argument mem-fraction-static 0.9, locked 0.85"]),
    ({"enable_metrics": True}, ["server argument enable-metrics as a flag, not in the lock"]),
    ({"reasoning_parser": False}, ["no server argument reasoning-parser, locked minimax-append-think"]),
    ({"extra_args": {"trust-remote-code": False}}, ["no server argument trust-remote-code, locked as a flag"]),
    (
        {"sglang_version": "0.5.9"},
        [
            "image lmsysorg/sglang:v0.5.9, locked lmsysorg/sglang:v0.5.10.post1",
            "sglang_version 0.5.9, locked 0.5.10.post1",
        ],
    ),
    (
        {"layout": "2x4"},
        [
            "layout 2x4, locked 1x8",
            "no server argument ep-size, locked 8",
            "server argument tp-size 4, locked 8",
        ],
    ),
]


@pytest.mark.parametrize(("wishes", "said"), DIFFERENCES)
def test_differences(wishes: dict[str, t.Any], said: list[str]) -> None:
    new = entry(**wishes)
    assert differences(new, entry()) == said
    if said:
        with pytest.raises(LockError) as caught:
            check_plan(lock(), new)
        assert str(caught.value) == (
            f"the plan of MiniMax-M2.7 on 8 x H200 is not the locked one: {'; '.join(said)}. Set the inventory back, or run "
            "sglang-fleet lock and look at the difference that it shows"
        )


def test_differences_of_patches_driver_and_environment() -> None:
    old = {**entry(), "patches": {"a": "1", "b": "2"}, "environment": {"X": "1"}}
    new = {**entry(), "patches": {"b": "3", "c": "4"}, "environment": {"X": "2"}}
    new["driver"] = {"name": "nvidia", "minimum": "580"}
    assert differences(new, old) == [
        "driver minimum 580, locked 575",
        "no patch a",
        "patch b changed",
        "patch c is new",
        "environment X 2, locked 1",
    ]


def test_the_nearest_plan_is_the_one_compared_with() -> None:
    locked = lock(entry(layout="2x4"), entry(mem_fraction_static=0.8))
    with pytest.raises(LockError, match=r"locked one: server argument mem-fraction-static 0.85, locked 0.8. Set"):
        check_plan(locked, entry())


def test_a_plan_that_is_not_there() -> None:
    with pytest.raises(LockError) as caught:
        check_plan(lock(entry(), entry(layout="2x4"), entry("B200", 4)), entry(count=4))
    assert str(caught.value) == (
        "the lock has no plan of MiniMax-M2.7 on 4 x H200; it has MiniMax-M2.7 on 4 x B200, MiniMax-M2.7 on 8 x H200: run "
        "sglang-fleet lock to add it"
    )
    with pytest.raises(LockError, match="it has none: run"):
        check_plan(make_lock(IMAGES, MODELS, ()), entry())


def test_one_of_several_plans_will_do() -> None:
    check_plan(lock(entry(mem_fraction_static=0.8), entry()), entry())


def test_the_image_of_an_architecture() -> None:
    assert image_lock(lock(), IMAGE, "amd64") == {"reference": IMAGE, "digest": A, "ids": [C, B, A], "bytes": 10}
    assert image_lock(lock(), IMAGE, "arm64")["ids"] == [B, C, A]
    with pytest.raises(LockError, match="the lock has no image other:v1: run sglang-fleet lock to add it"):
        image_lock(lock(), "other:v1", "amd64")
    with pytest.raises(LockError, match=f"the lock has {IMAGE} for amd64, arm64, and the host is riscv64"):
        image_lock(lock(), IMAGE, "riscv64")


def test_an_image_that_is_no_index_has_its_digest_once() -> None:
    single = {IMAGE: {"digest": A, "platforms": {"amd64": {"manifest": A, "config": B, "bytes": 1}}}}
    assert image_lock(make_lock(single, {}, ()), IMAGE, "amd64")["ids"] == [B, A]


def test_weights() -> None:
    assert weights_lock(lock(), "me/other") is None
    assert weights_lock(lock(), REPOSITORY) == {"repository": REPOSITORY, **lock()["models"][REPOSITORY]}


@pytest.mark.parametrize("with_weights", [True, False])
def test_what_a_plan_carries(with_weights: bool) -> None:
    held = locked_plan(lock(), entry(), REPOSITORY, "amd64", with_weights)
    assert held == {
        "sha256": lock_digest(lock()),
        "image": image_lock(lock(), IMAGE, "amd64"),
        "weights": weights_lock(lock(), REPOSITORY) if with_weights else None,
    }
