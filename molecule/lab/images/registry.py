"""Send images to a registry over its HTTP API (no engine involved)."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

from .layers import MANIFEST_TYPE, Document


class Registry:
    """A registry such as `172.30.0.1:5000` (plain HTTP) or `https://registry.example`."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        self.address = parts.netloc
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection

    def push(self, image: Document) -> bool:
        """Upload what the registry lacks; False when it had this very image under this name already."""
        name, _, tag = image.reference.rpartition(":")
        path = f"/v2/{name}/manifests/{tag}"
        status, _, body = self._request("GET", path, headers={"Accept": MANIFEST_TYPE})
        if status == 200 and body == image.manifest:
            return False
        for layer in image.layers:
            self._blob(name, layer.digest, layer.path)
        self._blob(name, image.image_id, image.config)
        status, _, body = self._request("PUT", path, image.manifest, {"Content-Type": MANIFEST_TYPE})
        if status != 201:
            raise RuntimeError(f"registry {self.address} refused {image.reference}: {status} {body.decode()}")
        return True

    def _blob(self, name: str, digest: str, content: bytes | Path) -> None:
        if self._request("HEAD", f"/v2/{name}/blobs/{digest}")[0] == 200:
            return
        status, headers, body = self._request("POST", f"/v2/{name}/blobs/uploads/", b"")
        if status != 202:
            raise RuntimeError(f"registry {self.address} takes no upload for {name}: {status} {body.decode()}")
        target = urlsplit(headers["location"])
        path = f"{target.path}?{target.query}&digest={digest}".replace("?&", "?")
        status, _, body = self._request("PUT", path, content, {"Content-Type": "application/octet-stream"})
        if status != 201:
            raise RuntimeError(f"registry {self.address} refused {digest} of {name}: {status} {body.decode()}")

    def _request(
        self, method: str, path: str, content: bytes | Path | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of one request."""
        connection = self._connect(self.address, timeout=300)
        headers = dict(headers or {})
        try:
            if isinstance(content, Path):
                headers["Content-Length"] = str(content.stat().st_size)
                with content.open("rb") as file:
                    connection.request(method, path, file, headers)
            else:
                connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()
