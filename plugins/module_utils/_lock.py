# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock file of a fleet: which bytes of images and weights, and which plans, a deploy may bring. See docs/decisions/0011.

Nothing is asked here; ``sglang-fleet lock`` writes the file. A lock in memory is the file's content as a dictionary,
after read_lock: catalogue/schema/lock.json says what is in it.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

from ansible_collections.sglang.fleet.plugins.module_utils._schema import schema_problems

_Map = t.Mapping[str, t.Any]

SCHEMA: t.Final = 1
#: Ansible reads every YAML file of an inventory folder. Named by this, the inventory plugin of the collection takes the
#: lock file, and gives no hosts; else its keys would be taken for groups.
PLUGIN: t.Final = "sglang.fleet.lock"
#: Findings of a file that a message lists; the first ones say enough.
_MOST: t.Final = 10

#: Server arguments that are the host's own or that the lock itself gives.
_NOT_LOCKED_ARGS: t.Final = frozenset({"host", "port", "base-gpu-id", "revision"})
#: What a server gets so that it takes the verified weights and asks no hub. The cache is named because an image may have
#: set another.
OFFLINE: t.Final[dict[str, str]] = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "/root/.cache/huggingface/hub"}
#: What a plan is of; all else of an entry is how.
_WHAT: t.Final = ("model", "gpu", "count")


class LockError(ValueError):
    """The lock is not right, or is not of what is planned; the text says what was found, what is locked, what to do."""


def of_hub(model: str) -> bool:
    """Whether a model is a hub's repository, not a folder of the host's own."""
    return model.count("/") == 1 and not model.startswith(("/", ".", "~"))


def load_lock(path: str | Path) -> dict[str, t.Any] | None:
    """The lock of a file on the controller, or None where there is no such file; raises LockError."""
    import yaml  # on the controller only

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(Path(path).read_text("utf-8"), Loader=loader)  # noqa: S506 (a safe loader)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise LockError(f"cannot read the lock {path}: {reason}") from error
    except yaml.YAMLError as error:
        raise LockError(f"the lock {path} is not YAML: {' '.join(str(error).split())}") from error
    return read_lock(data, str(path))


def read_lock(data: t.Any, where: str) -> dict[str, t.Any]:
    """A lock that was read from ``where``, once it is seen to be one; raises LockError with what is wrong."""
    if isinstance(data, dict) and isinstance(data.get("schema"), int) and data["schema"] > SCHEMA:
        raise LockError(
            f"the lock {where} has schema {data['schema']}, and this version of the collection knows {SCHEMA}: install a "
            "newer one"
        )
    schema = json.loads((Path(__file__).parents[2] / "catalogue" / "schema" / "lock.json").read_text("utf-8"))
    problems = schema_problems(data, schema) or list(_contradictions(data))
    if problems:
        listed = problems[:_MOST] + ([f"and {len(problems) - _MOST} more"] if len(problems) > _MOST else [])
        raise LockError(
            f"the lock {where} is not right: {'; '.join(listed)}. Bring back a good one from version control, or delete it "
            "and run sglang-fleet lock"
        )
    return t.cast("dict[str, t.Any]", data)


def _contradictions(lock: _Map) -> t.Iterator[str]:
    """What entries say of one another."""
    for repository, model in lock["models"].items():
        paths = [file["path"] for file in model["files"]]
        twice = sorted({path for path in paths if paths.count(path) > 1}) if len(set(paths)) < len(paths) else []
        if twice:
            yield f"models.{repository} lists {', '.join(twice)} twice"
        total = sum(file["size"] for file in model["files"])
        if total != model["bytes"]:
            yield f"models.{repository}.bytes is {model['bytes']}, and its files have {total}"
    for plan in lock["plans"]:
        if plan["image"] not in lock["images"]:
            yield f"a plan of {plan['model']} on {plan['count']} x {plan['gpu']} has the image {plan['image']}, which images lacks"


def make_lock(images: _Map, models: _Map, plans: t.Iterable[_Map]) -> dict[str, t.Any]:
    """A lock in the order of its file, each plan once. images, models: entries by reference and by repository."""
    distinct = {_canonical(plan): _ordered_plan(plan) for plan in plans}
    # By what an operator looks for; the canonical text after that, so that the order is always the same.
    ordered = sorted(
        distinct.items(),
        key=lambda item: (item[1]["model"], item[1]["gpu"], item[1]["count"], item[1]["layout"], item[0]),
    )
    return {
        "plugin": PLUGIN,
        "schema": SCHEMA,
        "images": {name: _ordered_image(images[name]) for name in sorted(images)},
        "models": {name: _ordered_model(models[name]) for name in sorted(models)},
        "plans": [plan for key, plan in ordered],
    }


def _ordered_image(image: _Map) -> dict[str, t.Any]:
    keys = ("manifest", "config", "bytes")
    platforms = {name: {key: image["platforms"][name][key] for key in keys} for name in sorted(image["platforms"])}
    return {"digest": image["digest"], "platforms": platforms}


def _ordered_model(model: _Map) -> dict[str, t.Any]:
    files = [{key: file[key] for key in ("path", "size", "sha256")} for file in model["files"]]
    return {
        "revision": model["revision"],
        "bytes": sum(file["size"] for file in files),
        "files": sorted(files, key=lambda file: str(file["path"])),
    }


def _ordered_plan(plan: _Map) -> dict[str, t.Any]:
    ordered = {key: plan[key] for key in (*_WHAT, "layout", "profile", "image", "sglang_version", "driver")}
    return {**ordered, **{key: dict(sorted(plan[key].items())) for key in ("patches", "server_args", "environment")}}


def render_lock(lock: _Map) -> str:
    """The file's text: a line for each file of a model and each argument of a server, so that a diff shows what changed."""
    import yaml  # on the controller only

    class Flow(t.Dict[str, t.Any]):  # noqa: UP006 (Python 3.9)
        """A mapping that stands in one line."""

    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    Dumper.add_representer(
        Flow, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)
    )
    shown = {
        **make_lock(lock["images"], lock["models"], lock["plans"]),
        "images": {
            name: {**image, "platforms": {arch: Flow(entry) for arch, entry in image["platforms"].items()}}
            for name, image in make_lock(lock["images"], {}, ())["images"].items()
        },
    }
    shown["models"] = {
        name: {**model, "files": [Flow(file) for file in model["files"]]} for name, model in shown["models"].items()
    }
    shown["plans"] = [{**plan, "driver": Flow(plan["driver"])} for plan in shown["plans"]]
    body = yaml.dump(shown, Dumper=Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1 << 20)
    return f"---\n# Written by `sglang-fleet lock`; see docs/decisions/0011. Keep it in version control.\n{body}"


def lock_digest(lock: _Map) -> str:
    """SHA-256 (hex) of what the lock says, however its file is laid out."""
    return hashlib.sha256(_canonical(lock).encode()).hexdigest()


def _canonical(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def plan_entry(plan: _Map) -> dict[str, t.Any]:
    """What a lock holds of a plan. plan: ``fleet_plan``. All its instances are alike but for what is left out here."""
    instance = plan["instances"][0]
    args = {name: value for name, value in instance["server_args"].items() if name not in _NOT_LOCKED_ARGS}
    environment = {name: value for name, value in instance["environment"].items() if name not in OFFLINE}
    return {
        "model": plan["model"],
        "gpu": plan["gpu"],
        "count": plan["count"],
        "layout": plan["layout"],
        "profile": plan["profile"],
        "image": plan["image"]["reference"],
        "sglang_version": plan["image"]["sglang_version"],
        "driver": {"name": plan["driver"]["name"], "minimum": plan["driver"]["minimum"]},
        "patches": {patch["name"]: patch_digest(patch) for patch in plan["patches"]},
        "server_args": args,
        "environment": environment,
    }


def patch_digest(patch: _Map) -> str:
    """SHA-256 (hex) of what a patch does; its prose does not count."""
    effective = {key: value for key, value in patch.items() if key not in ("why", "source")}
    return hashlib.sha256(_canonical(effective).encode()).hexdigest()


def differences(entry: _Map, locked: _Map) -> list[str]:
    """What of a plan's entry is not as the lock has it, in words."""
    found: list[str] = []
    for key, value in entry.items():
        if key in ("driver", "patches", "server_args", "environment"):
            found += _in_mapping(key, value, locked[key])
        elif value != locked[key]:
            found.append(f"{key} {value}, locked {locked[key]}")
    return found


_IN_WORDS: t.Final = {
    "driver": "driver",
    "patches": "patch",
    "server_args": "server argument",
    "environment": "environment",
}


def _in_mapping(key: str, new: _Map, old: _Map) -> t.Iterator[str]:
    for name in sorted({*new, *old}):
        what = f"{_IN_WORDS[key]} {name}"
        if name not in old:
            yield f"{what} is new" if key == "patches" else f"{what} {_word(new[name])}, not in the lock"
        elif name not in new:
            yield f"no {what}" if key == "patches" else f"no {what}, locked {_word(old[name])}"
        elif new[name] != old[name]:
            yield f"{what} changed" if key == "patches" else f"{what} {_word(new[name])}, locked {_word(old[name])}"


def _word(value: t.Any) -> str:
    return "as a flag" if value is True else json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def check_plan(lock: _Map, entry: _Map) -> None:
    """Raises LockError unless the lock has just this plan."""
    if entry in lock["plans"]:
        return
    what = f"{entry['model']} on {entry['count']} x {entry['gpu']}"
    alike = [plan for plan in lock["plans"] if all(plan[key] == entry[key] for key in _WHAT)]
    if not alike:
        there = sorted({f"{plan['model']} on {plan['count']} x {plan['gpu']}" for plan in lock["plans"]})
        raise LockError(
            f"the lock has no plan of {what}; it has {', '.join(there) or 'none'}: run sglang-fleet lock to add it"
        )
    nearest = min((differences(entry, plan) for plan in alike), key=len)
    raise LockError(
        f"the plan of {what} is not the locked one: {'; '.join(nearest)}. Set the inventory back, or run sglang-fleet lock "
        "and look at the difference that it shows"
    )


def image_lock(lock: _Map, reference: str, architecture: str) -> dict[str, t.Any]:
    """What a host of this architecture (amd64, arm64) must have of an image; raises LockError.

    Gives reference, digest (what the registry gives for the tag), bytes (of its compressed layers) and ids, every ID that an
    engine may give the image: the digest of its configuration, or with Docker's containerd store of the manifest or the index.
    """
    image = lock["images"].get(reference)
    if image is None:
        raise LockError(f"the lock has no image {reference}: run sglang-fleet lock to add it")
    platform = image["platforms"].get(architecture)
    if platform is None:
        raise LockError(
            f"the lock has {reference} for {', '.join(image['platforms'])}, and the host is {architecture}: take an image "
            "for it (fleet_image), and run sglang-fleet lock"
        )
    ids = list(dict.fromkeys([platform["config"], platform["manifest"], image["digest"]]))
    return {"reference": reference, "digest": image["digest"], "ids": ids, "bytes": platform["bytes"]}


def weights_lock(lock: _Map, repository: str) -> dict[str, t.Any] | None:
    """repository, revision, bytes and files of a model's weights; None where the lock has none."""
    model = lock["models"].get(repository)
    return None if model is None else {"repository": repository, **model}


def locked_plan(lock: _Map, entry: _Map, repository: str, architecture: str, with_weights: bool) -> dict[str, t.Any]:
    """``fleet_plan.lock`` for a plan; raises LockError where the lock does not have just this plan."""
    check_plan(lock, entry)
    return {
        "sha256": lock_digest(lock),
        "image": image_lock(lock, entry["image"], architecture),
        "weights": weights_lock(lock, repository) if with_weights else None,
    }
