"""A script in Python that speaks for llama.cpp's server."""

import json
import os
import stat
import sys
from pathlib import Path

FAKE = """#!{python}
# Says as many words as it is asked for, one in an event.
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MODE = {mode!r}
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
record = Path(__file__).with_suffix(".record")
with record.open("a") as file:
    file.write(json.dumps({{"pid": os.getpid(), "options": options,
                            "port": os.environ.get("LLAMA_ARG_PORT")}}) + "\\n")
if MODE == "ends" or MODE == "no-" + options.get("--spec-type", ""):
    print("loading ...")
    print("error: it cannot be, because of this")
    print("bye")
    sys.exit(3)
started = time.monotonic()

class Handler(BaseHTTPRequestHandler):
    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/health":
            late = time.monotonic() - started < 0.3 or MODE == "never"
            return self.reply(503 if late else 200, {{}})
        self.reply(200, {{"build_info": "b1-fake"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with record.open("a") as file:
            file.write(json.dumps({{"path": self.path, "body": body}}) + "\\n")
        if self.path.startswith("/slots"):
            return self.reply(400 if MODE == "old" else 200, {{}})
        if MODE == "breaks":
            os._exit(5)
        if MODE == "refuses":
            return self.reply(400, {{"error": {{"message": "no room for that"}}}})
        n = body["n_predict"]
        timings = {{"predicted_n": n, "predicted_ms": 1000.0}}
        if "--spec-type" in options:
            timings |= {{"draft_n": n, "draft_n_accepted": n // 2}}
        events = [{{"content": f" w{{i}}", "stop": False}} for i in range(n)]
        events.append({{"content": "", "stop": True, "timings": timings}})
        if MODE == "ends early":
            events = events[:2]
        if MODE == "no json":
            events = ["<html>"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write(f"data: {{text}}\\n\\n".encode())
            self.wfile.flush()
            time.sleep(0.001)

    def log_message(self, *_):
        pass

HTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


def fake_server(folder, mode="well"):
    """Makes a binary that behaves as `mode` says."""
    path = folder / "llama-server"
    path.write_text(FAKE.format(python=sys.executable, mode=mode), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def recorded(binary):
    path = Path(binary).with_suffix(".record")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
