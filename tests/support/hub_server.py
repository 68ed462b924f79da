"""A local server that speaks the part of Hugging Face's HTTP API that huggingface_hub asks for."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
TOKEN = "hf_test"


@dataclass
class Repository:
    """A repository: the files of each commit, and the commit of each branch.

    Attributes:
        private: Whether a token is required.
        gated: Whether its conditions have not been accepted.
        commits: Content of the files by path, by commit.
        branches: The last commit of each branch.
    """

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, changed: dict[str, bytes]) -> str:
        """Adds a commit with changed files, and returns its name."""
        files = {**self.commits.get(self.branches.get(branch, ""), {}), **changed}
        content = repr((sorted(files.items()), len(self.commits))).encode()
        name = hashlib.sha1(content).hexdigest()
        self.commits[name], self.branches[branch] = files, name
        return name

    def resolve(self, revision: str) -> str | None:
        """Returns the commit of a branch or of its own name."""
        return revision if revision in self.commits else self.branches.get(revision)


@dataclass
class HubServer:
    """The state of the server.

    Attributes:
        url: Its address, for `HF_ENDPOINT`.
        repositories: The repositories by owner and name.
        stored: The large files that were uploaded, by SHA-256.
        requests: Method and path of every request.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add(
        self, name: str, files: dict[str, bytes], private: bool = False, gated: bool = False
    ) -> Repository:
        """Adds a repository with one commit on its main branch."""
        self.repositories[name] = Repository(private, gated)
        self.repositories[name].commit("main", files)
        return self.repositories[name]

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        """Answers a request."""
        for pattern, handle in _ROUTES:
            match = re.fullmatch(pattern, f"{method} {path}")
            if match:
                return handle(self, headers, body, *match.groups())
        return _json(404, {"error": f"there is no route {method} {path}"})

    def find(self, name: str, revision: str, headers: Any) -> tuple[Repository, str] | Answer:
        """Returns a repository and a commit, or the answer that refuses access."""
        found = self.repositories.get(name)
        token = headers.get("Authorization")
        if token not in (None, f"Bearer {TOKEN}"):
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return _json(401, {"error": message}, message)
        if found is None or (found.private and token is None):
            return _json(404 if token else 401, {}, {"X-Error-Code": "RepoNotFound"})
        if found.gated:
            return _json(403, {}, {"X-Error-Code": "GatedRepo"})
        commit = found.resolve(revision.replace("%2F", "/"))
        if commit is None:
            return _json(404, {}, {"X-Error-Code": "RevisionNotFound"})
        return found, commit


def _json(status: int, content: Any, headers: dict[str, str] | None = None) -> Answer:
    return status, {"Content-Type": "application/json", **(headers or {})}, _dump(content)


def _dump(content: Any) -> bytes:
    return json.dumps(content).encode()


def _create(hub: HubServer, headers: Any, body: bytes) -> Answer:
    wanted = json.loads(body)
    name = f"{wanted['organization']}/{wanted['name']}"
    if headers.get("Authorization") != f"Bearer {TOKEN}":
        return _json(401, {"error": "Invalid username or password."})
    created = {"url": f"{hub.url}/{name}", "id": name, "name": name}
    if name in hub.repositories:
        return _json(409, {"error": "You already created this model repo", **created})
    is_private = wanted.get("private", False) or wanted.get("visibility") == "private"
    hub.add(name, {".gitattributes": b"*.keras filter=lfs\n"}, private=is_private)
    return _json(200, created)


def _info(hub: HubServer, headers: Any, _: bytes, name: str, revision: str = "main") -> Answer:
    found = hub.find(name, revision, headers)
    if not isinstance(found[0], Repository):
        return found
    repository, commit = found
    files = [{"rfilename": path} for path in repository.commits[commit]]
    content = {"id": name, "sha": commit, "siblings": files, "private": repository.private}
    return _json(200, {**content, "tags": [], "downloads": 0, "likes": 0})


def _branch(hub: HubServer, headers: Any, _: bytes, name: str, branch: str) -> Answer:
    repository = hub.repositories[name]
    if branch in repository.branches:
        return _json(409, {"error": "the branch exists"})
    repository.branches[branch] = repository.branches["main"]
    return _json(200, {})


def _preupload(hub: HubServer, _: Any, body: bytes, *__: str) -> Answer:
    def mode(file: dict[str, Any]) -> str:
        return "lfs" if file["path"].endswith(".keras") else "regular"

    files = json.loads(body)["files"]
    modes = [{"path": f["path"], "uploadMode": mode(f), "shouldIgnore": False} for f in files]
    return _json(200, {"files": modes})


def _batch(hub: HubServer, _: Any, body: bytes, *__: str) -> Answer:
    objects = [
        {**each, "actions": {"upload": {"href": f"{hub.url}/upload/{each['oid']}"}}}
        for each in json.loads(body)["objects"]
    ]
    return _json(200, {"transfer": "basic", "objects": objects})


def _upload(hub: HubServer, _: Any, body: bytes, oid: str) -> Answer:
    if hashlib.sha256(body).hexdigest() != oid:
        return _json(400, {"error": "another file"})
    hub.stored[oid] = body
    return _json(200, {})


def _commit(hub: HubServer, _: Any, body: bytes, name: str, branch: str) -> Answer:
    changed = {}
    for line in body.splitlines():
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "file":
            changed[value["path"]] = base64.b64decode(value["content"])
        elif entry["key"] == "lfsFile":
            changed[value["path"]] = hub.stored[value["oid"]]
    commit = hub.repositories[name].commit(branch, changed)
    return _json(200, {"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit})


def _resolve(
    hub: HubServer, headers: Any, _: bytes, method: str, name: str, revision: str, path: str
) -> Answer:
    found = hub.find(name, revision, headers)
    if not isinstance(found[0], Repository):
        return found
    repository, commit = found
    content = repository.commits[commit].get(path)
    facts = {"X-Repo-Commit": str(commit)}
    if content is None:
        return _json(404, {}, {**facts, "X-Error-Code": "EntryNotFound"})
    digest = hashlib.sha256(content).hexdigest()
    return 200, {**facts, "ETag": f'"{digest}"', "Content-Length": str(len(content))}, content


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: tuple[tuple[str, Callable[..., Answer]], ...] = (
    (r"POST /api/repos/create", _create),
    (r"POST /api/validate-yaml", lambda *_: _json(200, {"errors": [], "warnings": []})),
    (rf"GET /api/models/{_NAME}", _info),
    (rf"GET /api/models/{_NAME}/revision/(.+)", _info),
    (rf"POST /api/models/{_NAME}/branch/(.+)", _branch),
    (rf"POST /api/models/{_NAME}/preupload/(.+)", _preupload),
    (rf"POST /{_NAME}.git/info/lfs/objects/batch", _batch),
    (r"PUT /upload/(\w+)", _upload),
    (rf"POST /api/models/{_NAME}/commit/(.+)", _commit),
    (rf"(GET|HEAD) /{_NAME}/resolve/([^/]+)/(.+)", _resolve),
)


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Runs a server on a free port of this machine while the block runs."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            hub.requests.append(f"{self.command} {path}")
            status, headers, content = hub.answer(self.command, path, self.headers, body)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
