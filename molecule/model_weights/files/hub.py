"""Has the lab's hub run, and prints a space of it for this scenario, with the weights as a lock would name them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "molecule" / "lab"))

from fleetlab.hub import ensure_hub

REPOSITORY = "MiniMaxAI/MiniMax-M2.7"

hub = ensure_hub().space("molecule")
files = [
    {"path": path, "size": file["size"], "sha256": file["sha256"]}
    for path, file in sorted(hub.files(REPOSITORY).items())
    if not path.endswith((".md", ".svg", ".gitattributes"))
]
weights = {
    "repository": REPOSITORY,
    "revision": hub.revision(REPOSITORY),
    "bytes": sum(file["size"] for file in files),
    "files": files,
}
print(json.dumps({"endpoint": hub.endpoint, "weights": weights}))
