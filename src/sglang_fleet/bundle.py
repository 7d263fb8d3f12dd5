# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes and checks bundles: a lock's images and weights in a folder, for hosts that reach no registry and no hub.

What a bundle is, the collection's ``_bundle`` knows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, Final

from sglang_fleet.bundle_contents import Contents, File, Source
from sglang_fleet.collection import CollectionMissingError, use_collection
from sglang_fleet.fleet import Listener, run_playbook
from sglang_fleet.lock import ask_inventory, one_endpoint, write_atomically
from sglang_fleet.planning import FleetError

#: Files that come at a time.
_AT_ONCE: Final = 4
#: Seconds until the first line of progress, and between two.
_FIRST_LINE: Final = 3.0
_LINE_EVERY: Final = 10.0


@dataclass
class Outcome:
    """What became of a bundle. fetched: bytes that came; problems: what a check found; removed: files of an older lock."""

    folder: Path
    bytes: int = 0
    fetched: int = 0
    problems: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A line that says how it is."""
        from ansible_collections.sglang.fleet.plugins.module_utils._progress import size_text

        if self.problems:
            return f"{self.folder} is not whole"
        came = f"{size_text(self.fetched)} fetched" if self.fetched else "nothing fetched"
        return f"{self.folder} holds {size_text(self.bytes)}, {came}"


class _Wishes(Listener[dict[str, Any]]):
    """What ``supply.yml`` says of each host."""

    def new(self, name: str) -> dict[str, Any]:
        return {"name": name}

    def ok(self, host: dict[str, Any], action: Any, result: Mapping[str, Any]) -> None:
        del action
        host.update((result.get("ansible_facts") or {}).get("lock_wishes") or {})

    def failed(self, host: dict[str, Any], action: Any, result: Mapping[str, Any], message: str) -> None:
        del action, result
        host["error"] = message

    def unreachable(self, host: dict[str, Any], message: str) -> None:
        host["error"] = message


def ask_source(inventory: Path, limit: str | None = None, lock_file: Path | None = None) -> Source:
    """Asks the inventory, and no host, where its lock, images and weights are; raises FleetError."""
    events = _Wishes()
    with tempfile.TemporaryDirectory(prefix="sglang-fleet-") as secrets:
        run_playbook("supply.yml", inventory, limit, events, {"lock_secrets": secrets})
        tokens = [file.read_text("utf-8").strip() for file in sorted(Path(secrets).iterdir())]
    bad = {
        name: host.get("error") or "it says nothing"
        for name, host in sorted(events.hosts.items())
        if "file" not in host
    }
    if bad:
        raise FleetError("; ".join(f"{name}: {error}" for name, error in bad.items()))
    hosts = list(events.hosts.values())
    named = {str(host["file"]) for host in hosts}
    if lock_file is None:
        if len(named) > 1 or not any(named):
            listed = ", ".join(sorted(named)) or "none"
            raise FleetError(f"the hosts name {listed} as lock files: choose one with --lock-file")
        lock_file = Path(*named).expanduser()
    one_endpoint({str(host["endpoint"]) for host in hosts})
    mirrors = dict.fromkeys(str(mirror) for host in hosts for mirror in host["mirrors"])
    return Source(lock_file, list(mirrors), str(hosts[0]["endpoint"]), next(iter(tokens), None))


def make_bundle(
    inventory: Path,
    folder: Path,
    limit: str | None = None,
    lock_file: Path | None = None,
    *,
    cached: bool = False,
    say: Callable[[str], None] = lambda _text: None,
) -> Outcome:
    """Brings the folder to the lock, fetching what it lacks; raises FleetError. Nothing is asked where nothing lacks.

    limit: only what these hosts take, who are asked for it (cached: or the facts of an earlier call).
    """
    ours = _collection()
    source = ask_source(inventory, limit, lock_file)
    lock = _lock(ours, source.lock_file)
    plans = _plans(ours, lock, inventory, limit, cached)
    wanted = Contents(ours, lock, plans, source)
    try:
        done = complete(ours, folder, lock, plans)
    except FleetError as error:
        say(f"{error}; it is written anew")
        with suppress(OSError):
            (folder / ours.bundle.FILE).unlink()
        done = None
    if done is not None:
        return done
    try:
        return _made(ours, folder, lock, wanted, source, say)
    except OSError as error:
        raise FleetError(f"cannot write the bundle in {folder}: {error.strerror or error}") from error


def _made(
    ours: Any, folder: Path, lock: Mapping[str, Any], wanted: Contents, source: Source, say: Callable[[str], None]
) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    files = wanted.files(folder)
    outcome = Outcome(folder, bytes=sum(file.size for file in files))
    missing = [file for file in files if not _there(folder, file)]
    _see_room(folder, missing)
    outcome.fetched = _fetch(folder, missing, outcome.bytes, say)
    old = _present(ours, folder)
    texts = {ours.bundle.LOCK: source.lock_file.read_text("utf-8"), **wanted.layout()}
    for name, text in texts.items():
        write_atomically(folder / name, text)
    listed = {file.path: {"size": file.size, "sha256": file.sha256} for file in files}
    for name in texts:
        listed[name] = {"size": (folder / name).stat().st_size, "sha256": ours.disk.sha256_of(str(folder / name))}
    text = ours.bundle.render_bundle(ours.lock.lock_digest(lock), wanted.images, wanted.models, listed)
    write_atomically(folder / ours.bundle.FILE, text)
    outcome.removed = _remove(folder, set((old or {}).get("files", {})) - set(listed))
    return outcome


def check_bundle(folder: Path, inventory: Path | None, limit: str | None, lock_file: Path | None) -> Outcome:
    """Every file of a bundle against its checksum, and the bundle against the inventory's lock; raises FleetError."""
    ours = _collection()
    bundle = _present(ours, folder)
    if bundle is None:
        return Outcome(folder, problems=[f"{folder} holds no whole bundle: run sglang-fleet bundle"])
    found = list(ours.bundle.problems(str(folder), bundle, True))
    if inventory is not None:
        lock = _lock(ours, ask_source(inventory, limit, lock_file).lock_file)
        if bundle["lock"] != ours.lock.lock_digest(lock):
            found.append("it was made from another lock: run sglang-fleet bundle")
    return Outcome(folder, bytes=sum(entry["size"] for entry in bundle["files"].values()), problems=found)


def complete(ours: Any, folder: Path, lock: Mapping[str, Any], plans: list[Mapping[str, Any]]) -> Outcome | None:
    """The bundle where it is whole already, by its list and the files' sizes; else None."""
    bundle = _present(ours, folder)
    if (
        bundle is None
        or bundle["lock"] != ours.lock.lock_digest(lock)
        or list(ours.bundle.problems(str(folder), bundle, False))
    ):
        return None
    for plan in plans:
        held = bundle["images"].get(plan["image"], {}).get("platforms", {})
        repository = plan["repository"]
        if not set(plan["platforms"]) <= set(held) or (
            repository in lock["models"] and repository not in bundle["models"]
        ):
            return None
    return Outcome(folder, bytes=sum(entry["size"] for entry in bundle["files"].values()))


def _present(ours: Any, folder: Path) -> dict[str, Any] | None:
    """What bundle.json says; None where there is none."""
    if not (folder / ours.bundle.FILE).is_file():
        return None
    try:
        found: dict[str, Any] = ours.bundle.load_bundle(str(folder))
    except ours.bundle.BundleError as error:
        raise FleetError(str(error)) from error
    return found


def _lock(ours: Any, file: Path) -> dict[str, Any]:
    try:
        lock: dict[str, Any] | None = ours.lock.load_lock(file)
    except ours.lock.LockError as error:
        raise FleetError(str(error)) from error
    if lock is None:
        raise FleetError(f"there is no lock {file}: run sglang-fleet lock first, a bundle holds what a lock names")
    return lock


def _plans(
    ours: Any, lock: Mapping[str, Any], inventory: Path, limit: str | None, cached: bool
) -> list[Mapping[str, Any]]:
    """The lock's plans, or those of some hosts, as {"image", "platforms", "repository"}."""
    from ansible_collections.sglang.fleet.plugins.module_utils._plan_lock import usual_architecture

    repositories = {model.name: model.id for model in ours.catalogue.models.values()}
    if limit is None:
        # A model of the inventory's own catalogue is not known here; then the weights of all are wanted.
        named = [(plan["image"], plan["gpu"], repositories.get(plan["model"])) for plan in lock["plans"]]
    else:
        hosts, _files = ask_inventory(inventory, limit, cached=cached)
        named = [(one.plan["image"]["reference"], one.plan["gpu"], one.plan["model_path"]) for one in hosts]
    found: list[Mapping[str, Any]] = []
    for reference, gpu, repository in dict.fromkeys(named):
        if reference not in lock["images"]:
            raise FleetError(f"the lock has no image {reference}: run sglang-fleet lock")
        locked = list(lock["images"][reference]["platforms"])
        entry = ours.catalogue.gpus.get(gpu)
        usual = None if entry is None else usual_architecture(entry.image_class)
        platforms = [usual] if usual in locked else locked
        wanted = [repository] if repository else list(lock["models"])
        found += [{"image": reference, "platforms": platforms, "repository": name} for name in wanted]
    return found


def _there(folder: Path, file: File) -> bool:
    """Files get their names once they are verified, so that the size is enough."""
    from sglang_fleet.bundle_images import size_of

    path = folder / file.path
    return path.is_file() and size_of(path) == file.size


def _see_room(folder: Path, missing: Iterable[File]) -> None:
    from ansible_collections.sglang.fleet.plugins.module_utils._disk import free_bytes
    from ansible_collections.sglang.fleet.plugins.module_utils._progress import size_text

    needed = _lacking(folder, missing)
    free = free_bytes(str(folder))
    if needed > free:
        raise FleetError(
            f"no room for the bundle in {folder}: {size_text(free)} are free, {size_text(needed)} are needed; nothing was"
            " fetched. Free space there, or choose another folder"
        )


def _fetch(folder: Path, missing: list[File], total: int, say: Callable[[str], None]) -> int:
    """Brings the files, several at a time; the bytes that came. Raises FleetError with the first failure."""
    from ansible_collections.sglang.fleet.plugins.module_utils._progress import Meter

    def get(file: File) -> None:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        file.get(target)

    def held() -> int:
        return total - _lacking(folder, missing)

    meter, before, next_line = Meter(), held(), time.monotonic() + _FIRST_LINE
    todo: SimpleQueue[File] = SimpleQueue()
    ended: SimpleQueue[Exception | None] = SimpleQueue()
    stopped = Event()
    for file in missing:
        todo.put(file)

    def work() -> None:
        while not stopped.is_set():
            try:
                file = todo.get_nowait()
            except Empty:
                return
            try:
                get(file)
                ended.put(None)
            except Exception as error:
                ended.put(error)

    # Not a pool, which waits for its threads, and the interpreter with it: a failure or an interrupt would be shown when the
    # gigabytes are there that the others fetch. What these have is found by the next run.
    for _number in range(min(_AT_ONCE, len(missing))):
        Thread(target=work, daemon=True).start()
    left = len(missing)
    try:
        while left:
            with suppress(Empty):
                failure = ended.get(timeout=0.5)
                left -= 1
                if failure is not None:
                    raise failure
            meter.add(time.monotonic(), held())
            if time.monotonic() >= next_line:
                next_line = time.monotonic() + _LINE_EVERY
                say(meter.line("bundle", "files", held(), total))
    finally:
        stopped.set()
    return held() - before


def _lacking(folder: Path, files: Iterable[File]) -> int:
    """Bytes that are still to come."""
    from sglang_fleet.bundle_images import size_of

    missing = (file for file in files if not _there(folder, file))
    return sum(max(0, file.size - size_of(folder / f"{file.path}.part")) for file in missing)


def _remove(folder: Path, names: Iterable[str]) -> list[str]:
    """Files that an older lock had; folders that are empty then."""
    removed = []
    for name in sorted(names):
        path = folder / name
        if path.is_file():
            path.unlink()
            removed.append(name)
            for parent in path.parents:
                if parent == folder or any(parent.iterdir()):
                    break
                parent.rmdir()
    return removed


@dataclass(frozen=True)
class _Collection:
    """The parts of the collection that a bundle needs."""

    bundle: Any
    disk: Any
    lock: Any
    catalogue: Any


def _collection() -> _Collection:
    try:
        use_collection()
    except CollectionMissingError as error:
        raise FleetError(str(error)) from error
    from ansible_collections.sglang.fleet.plugins.module_utils import _bundle, _disk, _lock
    from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue

    return _Collection(_bundle, _disk, _lock, load_catalogue())
