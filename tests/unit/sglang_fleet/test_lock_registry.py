# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry client against a registry in this process."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from sglang_fleet.lock_credentials import Credentials
from sglang_fleet.lock_registry import Reference, Registries, RegistryError, addresses
from tests.unit.sglang_fleet.lock_standins import Answer, Blobs, Registry, digest

SECRET = "me:s3cr3t"


@pytest.fixture
def registry() -> Iterator[Registry]:
    standin = Registry()
    with standin.serving():
        yield standin


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("sglang_fleet.lock_registry.time.sleep", waited.append)
    return waited


def logins(registry: Registry, secret: str = SECRET) -> Credentials:
    return Credentials({"auths": {registry.host: {"auth": base64.b64encode(secret.encode()).decode()}}})


def asked(registry: Registry, reference: str = "lmsysorg/sglang:v1", secret: str | None = None) -> dict[str, object]:
    return Registries(logins(registry, secret) if secret else Credentials()).entry(f"{registry.host}/{reference}")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lmsysorg/sglang:v0.5.9", ("docker.io", "lmsysorg/sglang", "v0.5.9", None)),
        ("debian", ("docker.io", "library/debian", "latest", None)),
        ("docker.io/debian:12", ("docker.io", "library/debian", "12", None)),
        ("index.docker.io/a/b:1", ("docker.io", "a/b", "1", None)),
        ("localhost/a:1", ("localhost", "a", "1", None)),
        ("mirror:5000/a/b/c:v1", ("mirror:5000", "a/b/c", "v1", None)),
        ("mirror.example.org/a", ("mirror.example.org", "a", "latest", None)),
        ("a/b@sha256:00", ("docker.io", "a/b", None, "sha256:00")),
        ("mirror:5000/a/b:v1@sha256:00", ("mirror:5000", "a/b", "v1", "sha256:00")),
    ],
)
def test_references(text: str, parts: tuple[str, str, str | None, str | None]) -> None:
    found = Reference.parse(text)
    assert (found.registry, found.repository, found.tag, found.digest) == parts
    assert found.wanted == (parts[3] or parts[2])


@pytest.mark.parametrize(
    ("text", "mirrors", "wanted"),
    [
        ("a/b:1", [], ["https://registry-1.docker.io"]),
        ("a/b:1", ["http://m:5000/", "https://n"], ["http://m:5000", "https://n", "https://registry-1.docker.io"]),
        ("ghcr.io/a/b:1", ["http://m:5000"], ["https://ghcr.io"]),
        ("m:5000/a/b:1", ["http://m:5000"], ["http://m:5000"]),
        ("localhost:5000/a:1", [], ["http://localhost:5000"]),
        ("127.0.0.1:5000/a:1", [], ["http://127.0.0.1:5000"]),
        ("127.0.0.1.example.org/a:1", [], ["https://127.0.0.1.example.org"]),
    ],
)
def test_whom_to_ask(text: str, mirrors: list[str], wanted: list[str]) -> None:
    assert addresses(Reference.parse(text), mirrors) == wanted


def test_an_image_for_one_platform(registry: Registry) -> None:
    manifest, config = registry.manifest()
    registry.tags["v1"] = manifest
    platforms = {"amd64": {"manifest": manifest, "config": config, "bytes": 30}}
    assert asked(registry) == {"digest": manifest, "platforms": platforms}
    assert asked(registry, f"lmsysorg/sglang@{manifest}") == {"digest": manifest, "platforms": platforms}


def test_an_index(registry: Registry) -> None:
    (one, its), (two, others), (more, _config) = (registry.manifest(name) for name in ("amd64", "arm64", "s390x"))
    registry.tags["v1"] = index = registry.index(amd64=one, arm64=two, s390x=more)
    assert asked(registry) == {
        "digest": index,
        "platforms": {
            "amd64": {"manifest": one, "config": its, "bytes": 30},
            "arm64": {"manifest": two, "config": others, "bytes": 30},
        },
    }
    assert Registries().digest(f"{registry.host}/lmsysorg/sglang:v1") == index


def test_an_image_for_other_machines(registry: Registry) -> None:
    registry.tags["v1"] = registry.manifest("s390x")[0]
    with pytest.raises(RegistryError, match="the image is for none of amd64 and arm64"):
        asked(registry)


def test_mirrors_come_first_and_the_next_is_asked(registry: Registry) -> None:
    registry.tags["v1"] = manifest = registry.manifest()[0]
    mirrors = ["http://127.0.0.1:9", registry.url]
    assert Registries().digest("lmsysorg/sglang:v1", mirrors) == manifest
    assert registry.requests[-1].path == "/v2/lmsysorg/sglang/manifests/v1"


def test_no_registry_has_it(registry: Registry) -> None:
    with pytest.raises(RegistryError) as caught:
        asked(registry)
    assert str(caught.value) == (
        f"no registry gives {registry.host}/lmsysorg/sglang:v1: {registry.url}: it has no such image"
    )


def test_no_registry_answers() -> None:
    with pytest.raises(RegistryError, match=r"no registry gives 127\.0\.0\.1:9/a:1: http://127\.0\.0\.1:9: .*refused"):
        Registries().entry("127.0.0.1:9/a:1")


@pytest.mark.parametrize("part", ["tag", "manifest", "config"])
def test_bytes_that_are_not_the_digests(registry: Registry, part: str) -> None:
    manifest, config = registry.manifest()
    index = registry.index(amd64=manifest)
    registry.tags["v1"] = {"tag": index, "manifest": index, "config": manifest}[part]
    name = {"tag": index, "manifest": manifest, "config": config}[part]
    registry.wrong[name] = registry.content[name][1] + b" "
    with pytest.raises(
        RegistryError, match=f"what came is {digest(registry.wrong[name])}: something on the way changes"
    ):
        asked(registry)


def test_a_manifest_of_dockers_first_kind(registry: Registry) -> None:
    registry.tags["v1"] = registry.put({"schemaVersion": 1, "fsLayers": []}, "application/json")
    with pytest.raises(RegistryError, match="of a kind that has no digests"):
        asked(registry)


@pytest.mark.parametrize("how", ["basic", "bearer"])
def test_a_login(registry: Registry, how: str) -> None:
    registry.login, registry.how = SECRET, how
    registry.tags["v1"] = registry.index(amd64=registry.manifest()[0])
    assert asked(registry, secret=SECRET)
    # Once it is known how, nobody is asked again.
    assert [request.path for request in registry.requests].count("/token") == (how == "bearer")
    assert sum("Authorization" not in request.headers for request in registry.requests) == 1


def test_an_identity_token(registry: Registry) -> None:
    registry.login = "<token>:s3cr3t"
    registry.tags["v1"] = registry.manifest()[0]
    assert asked(registry, secret="<token>:s3cr3t")
    [token] = [request for request in registry.requests if request.path == "/token"]
    assert (token.method, "s3cr3t" in token.path + str(token.query)) == ("POST", False)


@pytest.mark.parametrize("secret", [None, "me:wr0ng"])
@pytest.mark.parametrize("how", ["basic", "bearer"])
def test_no_login_or_a_wrong_one(registry: Registry, how: str, secret: str | None) -> None:
    registry.login, registry.how = SECRET, how
    registry.tags["v1"] = registry.manifest()[0]
    with pytest.raises(
        RegistryError, match=f"without a login that may have it .HTTP 401.; `docker login {registry.host}`"
    ) as caught:
        asked(registry, secret=secret)
    assert "wr0ng" not in str(caught.value)


def test_a_login_goes_to_no_other_host(registry: Registry) -> None:
    """Registries keep their blobs elsewhere."""
    registry.login, registry.how = SECRET, "basic"
    registry.tags["v1"] = registry.manifest()[0]
    registry.elsewhere = Blobs(registry)
    with registry.elsewhere.serving():
        assert asked(registry, secret=SECRET)
    [request] = registry.elsewhere.requests
    assert "Authorization" not in request.headers


def test_a_login_goes_over_no_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_self: Registries, _base: str, _reference: Reference) -> None:
        values = {"realm": "http://evil.example.org/token"}
        found._bearer("https://registry.example.org", values, "scope", found.logins.of("registry.example.org"))

    found = Registries(Credentials({"auths": {"registry.example.org": {"auth": "bWU6czNjcjN0"}}}))
    monkeypatch.setattr(Registries, "_entry", ask)
    with pytest.raises(
        RegistryError, match=r"asks for the login at http://evil\.example\.org/token, which is not encrypted"
    ):
        found.entry("registry.example.org/a:1")


def test_a_busy_registry_is_asked_again(registry: Registry, waits: list[float]) -> None:
    registry.tags["v1"] = registry.manifest()[0]
    registry.busy = [Answer(429, headers={"Retry-After": "7"}), Answer(503)]
    assert asked(registry)
    assert waits == [7.0, 4.0]


def test_who_gives_tokens_is_asked_again(registry: Registry, waits: list[float]) -> None:
    registry.login, registry.tags["v1"] = SECRET, registry.manifest()[0]
    registry.token_answers = [Answer(429, headers={"RateLimit": '"pull";r=0;t=9'}), Answer(502)]
    assert asked(registry, secret=SECRET)
    assert waits == [9.0, 4.0]


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"[]", b"{}"])
def test_a_token_that_is_none_has_the_next_registry_asked(registry: Registry, body: bytes) -> None:
    mirror = Registry()
    mirror.login, mirror.token_answers = SECRET, [Answer(200, body)]
    registry.tags["v1"] = manifest = registry.manifest()[0]
    with mirror.serving():
        assert Registries().digest("lmsysorg/sglang:v1", [mirror.url, registry.url]) == manifest
        mirror.token_answers = [Answer(200, body)]
        with pytest.raises(RegistryError, match=f"{mirror.url}/token was asked for a token, and what it gives is none"):
            asked(mirror)


def test_a_registry_that_stays_busy(registry: Registry, waits: list[float]) -> None:
    registry.busy = [Answer(429, headers={"Retry-After": "9999"})] * 3
    with pytest.raises(RegistryError, match="too many requests from here"):
        asked(registry)
    assert waits == [60.0, 60.0]
