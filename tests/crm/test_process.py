"""The CRM as a process: how it starts and stops."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]


def test_serves_as_soon_as_it_prints_its_address(start_crm):
    """The first line on stdout is the address, and a request sent at once is answered."""
    running = start_crm()
    try:
        assert httpx2.get(f"{running.url}/_admin/accounts").status_code == 200
    finally:
        assert running.stop() == ""


def test_stops_at_once_while_a_request_hangs(start_crm):
    """A caller that waits for ever does not keep the process alive, nor does it leave a trace."""
    running = start_crm()
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as caller:
        caller.sendall(b"GET /faults/hang HTTP/1.1\r\nHost: crm\r\n\r\n")
        _wait_for_hit(running.url, "/faults/hang")
        assert running.stop() == ""
        assert caller.recv(1) == b""


def test_says_why_it_cannot_listen(running_crm):
    """A taken port ends the start with one plain line and status 1."""
    port = running_crm.url.rsplit(":", 1)[1]
    second = subprocess.run(
        [sys.executable, "-m", "examples.crm", "--port", port],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"crm cannot listen on 127.0.0.1:{port}")
    assert second.stderr.count("\n") == 1


def _wait_for_hit(url: str, path: str) -> None:
    while not any(hit["path"] == path for hit in httpx2.get(f"{url}/_admin/ledger").json()["hits"]):
        pass
