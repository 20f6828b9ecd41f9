"""The CRM tells of changes: signed, to those who asked, and badly if it is told to."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest

DEAL = {"title": "Anvils", "amount": 100}


@pytest.fixture
def listener():
    """An address, and a queue of what comes in there: `(headers, body)`."""
    heard = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.put((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", heard
    server.shutdown()
    server.server_close()
    thread.join()


def _is_signed(secret, headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, signed, sha256)).decode()
    return headers["webhook-signature"] == f"v1,{expected}"


def test_whoever_asked_is_told(acme, listener):
    """Of the kinds it asked for, and no longer once it is taken away."""
    url, heard = listener
    wanted = {"url": url, "events": ["deal.created", "deal.deleted"]}
    made = acme.post("/api/webhooks", json=wanted).raise_for_status().json()
    deal = acme.post("/api/deals", json=DEAL).json()
    acme.patch(f"/api/deals/{deal['id']}", json={"amount": 1})
    acme.delete(f"/api/deals/{deal['id']}")
    told = [heard.get(timeout=10) for _ in range(2)]
    kinds = {json.loads(body)["type"] for _, body in told}
    assert kinds == {"deal.created", "deal.deleted"}
    assert all(_is_signed(made["secret"], headers, body) for headers, body in told)
    assert "secret" not in acme.get("/api/webhooks").json()["webhooks"][0]

    assert acme.delete(f"/api/webhooks/{made['id']}").status_code == 204
    assert acme.delete(f"/api/webhooks/{made['id']}").status_code == 404
    assert acme.get("/api/webhooks").json() == {"webhooks": []}


def test_it_misbehaves_when_told(acme, listener):
    """It tells twice, keeps back, and signs wrongly."""
    url, heard = listener
    made = acme.post("/api/webhooks", json={"url": url, "events": ["deal.created"]}).json()
    path = "/_admin/accounts/acme/webhooks"
    acme.patch(path, json={"duplicate": True, "reorder": True}).raise_for_status()
    for title in ("First", "Second"):
        acme.post("/api/deals", json={**DEAL, "title": title})
    assert acme.post(f"{path}/release").json() == {"released": 2}
    ids = [heard.get(timeout=10)[0]["webhook-id"] for _ in range(4)]
    assert sorted(map(ids.count, set(ids))) == [2, 2]

    acme.patch(path, json={"forge": True}).raise_for_status()
    acme.post("/api/deals", json=DEAL)
    headers, body = heard.get(timeout=10)
    assert not _is_signed(made["secret"], headers, body)
    deadline = time.monotonic() + 10
    while not (statuses := acme.get(path).json()["deliveries"][-1]["statuses"]):
        assert time.monotonic() < deadline
    assert statuses == [204]


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://x", "events": ["deal.created"]},
        {"url": "http://x", "events": ["sunrise"]},
        {"url": "http://x", "events": []},
        {"url": "http://x", "events": ["deal.created"], "secret": "short"},
    ],
)
def test_what_is_no_webhook_is_refused(acme, body):
    """Another scheme, an unknown kind, none, or a secret that is none."""
    assert acme.post("/api/webhooks", json=body).status_code == 422


def test_deals_since_a_moment(acme):
    """Those that were changed at that moment or later."""
    deal = acme.post("/api/deals", json=DEAL).json()
    since = {"updatedSince": deal["updatedAt"]}
    assert acme.get("/api/deals", params=since).json()["deals"] == [deal]
    assert acme.get("/api/deals", params={"updatedSince": "yesterday"}).status_code == 422
