"""A small hub on this machine, with the part of huggingface.co's API that huggingface_hub uses.

As on the real hub, a file's address redirects to a store with another host name, which knows no
repos. The hub records all requests, can break or hold a download in its middle, and can be shut
down.
"""

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """Serves `repos`.

    Attributes:
        repos: {"owner/repo": {"file": content}}; may be changed at any time.
        gated: repos whose files need the `token`; the list of files does not.
        claimed: {"file": size}: false sizes that the hub tells.
        asked: (verb, path) of each request, in order.
        sent: (file, first byte, bytes sent) of each download, in order.
        tokens_at_store: the tokens that the store received; it must not get any.
        break_at: the next downloads end at these bytes, counted from the file's beginning.
        ranges: whether downloads may begin at any byte; if not, they begin at the first.
        hold_at: downloads wait at this byte until `go_on` is set; `held` is set when one waits.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = {}
        self.gated = set()
        self.token = "hf_abcdef"
        self.claimed = {}
        self.sent = []
        self.asked = []
        self.tokens_at_store = set()
        self.break_at = []
        self.ranges = True
        self.hold_at = None
        self.held = threading.Event()
        self.go_on = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repo):
        """The current revision of a repo."""
        digest = hashlib.sha1()
        for name, content in sorted(self.repos[repo].items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()

    def handle_error(self, request, client_address):
        """Print nothing: tests kill clients in the middle of a download."""

    @contextlib.contextmanager
    def running(self):
        """Serve until the block ends, or until `stop`."""
        thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def stop(self):
        """Stop serving; after that, connections are refused."""
        self.go_on.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        hub = self.server
        path = unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path))
        kind, *parts = path.strip("/").split("/")
        if kind == "store":
            self._from_store(parts[0])
        elif kind == "api":
            self._about("/".join(parts[1:3]))
        else:
            # owner, repo, "resolve", revision, file
            self._resolve(f"{kind}/{parts[0]}", "/".join(parts[3:]))

    def _about(self, repo):
        hub = self.server
        if repo not in hub.repos:
            # The real hub sends 401 too if no token was given: the repo may be private.
            self._refuse(401, "RepoNotFound")
            return
        siblings = [
            {"rfilename": name, "size": hub.claimed.get(name, len(content))}
            for name, content in hub.repos[repo].items()
        ]
        about = {"_id": "0" * 24, "id": repo, "modelId": repo, "sha": hub.commit(repo)}
        body = json.dumps(about | {"siblings": siblings}).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": len(body)}, body)

    def _resolve(self, repo, file):
        hub = self.server
        if repo not in hub.repos:
            self._refuse(401, "RepoNotFound")
        elif repo in hub.gated and self.headers["Authorization"] != f"Bearer {hub.token}":
            self._refuse(401, "GatedRepo")
        elif file not in hub.repos[repo]:
            self._refuse(404, "EntryNotFound")
        else:
            content = hub.repos[repo][file]
            digest = hashlib.sha256(content).hexdigest()
            headers = {
                "Location": f"http://localhost:{hub.server_port}/store/{digest}",
                "X-Repo-Commit": hub.commit(repo),
                "X-Linked-ETag": f'"{digest}"',
                "X-Linked-Size": hub.claimed.get(file, len(content)),
                "Content-Length": 0,
            }
            self._send(302, headers)

    def _from_store(self, digest):
        hub = self.server
        file, content = next(
            (file, content)
            for repo in hub.repos.values()
            for file, content in repo.items()
            if hashlib.sha256(content).hexdigest() == digest
        )
        asked = self.headers.get("Range", "bytes=0-") if hub.ranges else "bytes=0-"
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        headers = {"ETag": f'"{digest}"', "Content-Length": len(content) - start}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        end = hub.break_at.pop(0) if hub.break_at else len(content)
        hub.tokens_at_store.add(self.headers["Authorization"])
        hub.sent.append((file, start, max(end - start, 0)))
        self.close_connection = True
        self._send(206 if start else 200, headers)
        if hub.hold_at is not None:
            self.wfile.write(content[start : hub.hold_at])
            start = max(start, hub.hold_at)
            hub.held.set()
            hub.go_on.wait(30)
        self.wfile.write(content[start:end])

    def _refuse(self, status, code):
        self._send(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": 0})

    def _send(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass
