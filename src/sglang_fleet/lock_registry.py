# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry has of an image, over its HTTP interface: no engine is needed, and nothing is pulled."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx

from sglang_fleet.lock_credentials import Credentials, Login

INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
#: Registries themselves take no larger manifest.
_LARGEST: Final = 4 << 20
#: What GPU nodes are.
ARCHITECTURES: Final = ("amd64", "arm64")
_TIMEOUT: Final = httpx.Timeout(30, connect=10)
_TRIES: Final = 3
_LONGEST_WAIT: Final = 60.0

Answer = TypeVar("Answer")


class RegistryError(Exception):
    """No registry gave the image; the text says which were asked, and what each said. absent: that none has it, says each."""

    def __init__(self, text: str, absent: bool = False) -> None:
        super().__init__(text)
        self.absent = absent


@dataclass(frozen=True)
class Reference:
    """An image's reference, with Docker's own rules: no registry is Docker Hub, no folder there is `library`."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        name, at, digest = text.partition("@")
        head, slash, rest = name.partition("/")
        if not slash or not (re.search(r"[.:]", head) or head == "localhost"):
            head, rest = "docker.io", name
        folder, colon, tag = rest.rpartition(":")
        repository = folder if colon else rest
        if head in ("docker.io", "index.docker.io"):
            head, repository = "docker.io", repository if "/" in repository else f"library/{repository}"
        return cls(head, repository, (tag if colon else None) or (None if at else "latest"), digest or None)

    @property
    def wanted(self) -> str:
        """What is asked for: the digest where there is one, since a tag beside it says nothing more."""
        return self.digest or str(self.tag)


def addresses(reference: Reference, mirrors: Sequence[str]) -> list[str]:
    """The registries to ask, in order. As for Docker, mirrors are of Docker Hub alone."""
    if reference.registry == "docker.io":
        return [*(mirror.rstrip("/") for mirror in mirrors), "https://registry-1.docker.io"]
    host = reference.registry
    # Docker itself speaks plain HTTP to its own machine; another host does where the inventory says so of a mirror.
    plain = re.match(r"(localhost|127\.[0-9.]+)(:|$)", host) or any(
        urlsplit(mirror).scheme == "http" and urlsplit(mirror).netloc == host for mirror in mirrors
    )
    return [f"{'http' if plain else 'https'}://{host}"]


@dataclass
class Registries:
    """Asks registries. logins: what the operator's `docker login` has left, by host."""

    logins: Credentials = field(default_factory=Credentials)
    client: httpx.Client = field(
        # The machine's own certificate authorities, as for every other program on it.
        default_factory=lambda: httpx.Client(
            timeout=_TIMEOUT, follow_redirects=True, verify=ssl.create_default_context()
        )
    )
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def entry(self, text: str, mirrors: Sequence[str] = ()) -> dict[str, Any]:
        """The lock's entry of an image: digest, and manifest, config and bytes of each platform. Raises RegistryError."""
        reference = Reference.parse(text)
        return self._first(text, reference, mirrors, self._entry)

    def digest(self, text: str, mirrors: Sequence[str] = ()) -> str:
        """What a tag is now. Raises RegistryError."""
        reference = Reference.parse(text)
        return self._first(text, reference, mirrors, lambda base, name: self._manifest(base, name, name.wanted)[0])

    def _first(
        self, text: str, reference: Reference, mirrors: Sequence[str], ask: Callable[[str, Reference], Answer]
    ) -> Answer:
        said, absent = [], True
        for base in addresses(reference, mirrors):
            try:
                return ask(base, reference)
            except RegistryError as error:
                said.append(f"{base}: {error}")
                absent = absent and error.absent
            except httpx.HTTPError as error:
                said.append(f"{base}: {str(error) or type(error).__name__}")
                absent = False
        raise RegistryError(f"no registry gives {text}: {'; '.join(said)}", absent)

    def _entry(self, base: str, reference: Reference) -> dict[str, Any]:
        digest, manifest = self._manifest(base, reference, reference.wanted)
        if manifest.get("mediaType") in INDEXES or "manifests" in manifest:
            platforms = dict(self._platforms(base, reference, manifest["manifests"]))
        else:
            config = json.loads(self._content(base, reference, "blobs", _digest_of(manifest.get("config")), ("*/*",)))
            platforms = {str(config.get("architecture")): _platform(digest, manifest)}
        platforms = {name: platform for name, platform in platforms.items() if name in ARCHITECTURES}
        if not platforms:
            raise RegistryError(f"the image is for none of {' and '.join(ARCHITECTURES)} on Linux")
        return {"digest": digest, "platforms": platforms}

    def _platforms(
        self, base: str, reference: Reference, listed: Iterable[Mapping[str, Any]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        done = set()
        for item in listed:
            platform = item.get("platform") or {}
            name = platform.get("architecture")
            if platform.get("os") == "linux" and name in ARCHITECTURES and name not in done:
                done.add(name)
                digest, manifest = self._manifest(base, reference, _digest_of(item))
                yield name, _platform(digest, manifest)

    def _manifest(self, base: str, reference: Reference, wanted: str) -> tuple[str, dict[str, Any]]:
        content = self._content(base, reference, "manifests", wanted, (*INDEXES, *MANIFESTS))
        try:
            manifest = json.loads(content)
        except ValueError as error:
            raise RegistryError("what it gives is no manifest") from error
        if not isinstance(manifest, dict) or not ("manifests" in manifest or "config" in manifest):
            raise RegistryError("the manifest is of a kind that has no digests (Docker's first); push the image anew")
        return f"sha256:{hashlib.sha256(content).hexdigest()}", manifest

    def _content(self, base: str, reference: Reference, kind: str, wanted: str, accept: Sequence[str]) -> bytes:
        """A manifest or a small blob, checked against the digest that it was asked by."""
        response = self._get(base, reference, f"{base}/v2/{reference.repository}/{kind}/{wanted}", ", ".join(accept))
        if response.status_code != 200:
            raise RegistryError(explained(response.status_code, base), response.status_code == 404)
        content = response.content
        if len(content) > _LARGEST:
            raise RegistryError(f"{wanted} has {len(content)} bytes, more than a manifest may have")
        found = f"sha256:{hashlib.sha256(content).hexdigest()}"
        said = response.headers.get("Docker-Content-Digest", found)
        if wanted.startswith("sha256:") and found != wanted:
            raise RegistryError(f"{wanted} was asked for, and what came is {found}: something on the way changes it")
        if kind == "manifests" and said.startswith("sha256:") and said != found:
            raise RegistryError(f"it calls {wanted} {said}, and what came is {found}: something on the way changes it")
        return content

    def _get(self, base: str, reference: Reference, url: str, accept: str) -> httpx.Response:
        scope = f"repository:{reference.repository}:pull"
        headers = {"Accept": accept}
        if (base, scope) in self._tokens:
            headers["Authorization"] = self._tokens[base, scope]
        response = self._tried(lambda: self.client.get(url, headers=headers))
        if response.status_code == 401:
            header = self._authorization(base, scope, response.headers.get_list("WWW-Authenticate"))
            if header is not None:
                self._tokens[base, scope] = header
                headers["Authorization"] = header
                response = self._tried(lambda: self.client.get(url, headers=headers))
        return response

    def _tried(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """The answer, asked for again where the registry, or whoever gives its tokens, is busy."""
        for attempt in range(1, _TRIES + 1):
            response = ask()
            if attempt == _TRIES or (response.status_code != 429 and response.status_code < 500):
                break
            time.sleep(min(patience(response, attempt), _LONGEST_WAIT))
        return response

    def _authorization(self, base: str, scope: str, challenges: Sequence[str]) -> str | None:
        """The header that the registry asks for, or None where there is nothing to answer with."""
        login = self.logins.of(urlsplit(base).netloc)
        for challenge in challenges:
            scheme, _space, rest = challenge.partition(" ")
            values = dict(re.findall(r'(\w+)="([^"]*)"', rest))
            if scheme.lower() == "basic" and login is not None and login.basic is not None:
                return login.basic
            if scheme.lower() == "bearer" and "realm" in values:
                return self._bearer(base, values, scope, login)
        return None

    def _bearer(self, base: str, values: Mapping[str, str], scope: str, login: Login | None) -> str:
        realm = values["realm"]
        if login is not None and urlsplit(realm).scheme != "https" and urlsplit(base).scheme == "https":
            raise RegistryError(f"it asks for the login at {realm}, which is not encrypted: the login was not sent")
        query = {"scope": values.get("scope", scope)}
        if "service" in values:
            query["service"] = values["service"]
        if login is not None and login.identity is not None:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": login.identity,
                "client_id": "sglang-fleet",
            }
            response = self._tried(lambda: self.client.post(realm, data=form))
        else:
            headers = {"Authorization": login.basic} if login is not None and login.basic else {}
            response = self._tried(lambda: self.client.get(realm, params=query, headers=headers))
        if response.status_code != 200:
            raise RegistryError(f"{explained(response.status_code, realm)} (asked for a token)")
        try:
            answer = response.json()
            token = answer.get("token") or answer["access_token"]
        except (ValueError, LookupError, AttributeError) as error:
            raise RegistryError(f"{realm} was asked for a token, and what it gives is none") from error
        return f"Bearer {token}"


def patience(response: httpx.Response, attempt: int) -> float:
    """Seconds until a busy place is asked again: what it asks for, else longer with each attempt (1, 2, …)."""
    from ansible_collections.sglang.fleet.plugins.module_utils._weights_fetch import retry_after

    says = "Retry-After" in response.headers or (response.status_code == 429 and "RateLimit" in response.headers)
    return retry_after(response.headers, time.time()) if says else 2.0**attempt


def _digest_of(item: Any) -> str:
    digest = item.get("digest") if isinstance(item, dict) else None
    if not isinstance(digest, str) or re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
        raise RegistryError(f"its manifest names the digest {digest!r}, where sha256 is wanted")
    return digest


def _platform(digest: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise RegistryError("the manifest has no layers")
    return {
        "manifest": digest,
        "config": _digest_of(manifest.get("config")),
        "bytes": sum(int(layer["size"]) for layer in layers),
    }


def explained(status: int, where: str) -> str:
    if status == 404:
        return "it has no such image"
    if status in (401, 403):
        return f"it does not give the image without a login that may have it (HTTP {status}); `docker login {urlsplit(where).netloc}`"
    if status == 429:
        return "too many requests from here (HTTP 429); try later, or `docker login` for a higher limit"
    return f"HTTP {status}"
