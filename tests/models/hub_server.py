"""A small server that speaks the Hugging Face hub's protocol: listing with checksums, redirect-free files, ranges; it can cut."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """What is served, and what was asked for."""

    repositories: dict[str, Path]
    """owner/name -> folder of its files."""
    cut_after: int | None = None
    """Bytes after which the connection breaks, of the next file that is longer than that."""
    damaged: str | None = None
    """A file that is sent with a bit turned."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path, Range."""
    url: str = ""

    def ranges(self, name: str) -> list[str]:
        """The Range headers with which a file was asked for."""
        return [range for method, path, range in self.requests if method == "GET" and path.endswith(name) and range]

    def gets(self) -> list[str]:
        return [path for method, path, _ in self.requests if method == "GET"]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(send_body=False)

        def do_GET(self) -> None:
            self._answer(send_body=True)

        def _answer(self, send_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path, self.headers.get("Range")))
            listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", path)
            file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            if listing and listing[1] in hub.repositories and listing[2] in ("main", COMMIT):
                return self._json(_listing(listing[1], hub.repositories[listing[1]]))
            folder = hub.repositories.get(file[1]) if file else None
            if file and folder is not None and (folder / file[3]).is_file() and file[2] in ("main", COMMIT):
                return self._file(folder / file[3], send_body)
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound" if listing else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, values: object) -> None:
            data = json.dumps(values).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _file(self, path: Path, send_body: bool) -> None:
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest() if _is_large(path) else hashlib.sha1(data).hexdigest()
            if hub.damaged is not None and path.name == hub.damaged:
                data = data[:-1] + bytes([data[-1] ^ 1])
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            start = int(found[1]) if found else 0
            self.send_response(206 if found else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{digest}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data) - start))
            if found:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if not send_body:
                return
            if hub.cut_after is not None and len(data) - start > hub.cut_after:
                self.wfile.write(data[start : start + hub.cut_after])
                self.wfile.flush()
                hub.cut_after = None
                return self.connection.close()
            self.wfile.write(data[start:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _is_large(path: Path) -> bool:
    """What the hub keeps in its large file storage, with a SHA-256."""
    return path.suffix == ".safetensors"


def _listing(repository: str, folder: Path) -> dict[str, object]:
    siblings = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        entry: dict[str, object] = {"rfilename": path.relative_to(folder).as_posix(), "size": len(data), "blobId": "0" * 40}
        if _is_large(path):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        siblings.append(entry)
    return {"_id": "0", "id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings, "private": False}
