"""Probes are answered on a port of their own."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from runtime.health import serve_health


async def test_live_ready_metrics():
    """Live always, ready as the callback says, metrics in Prometheus' format, else 404."""
    state = {"ready": False}
    async with serve_health(0, lambda: state["ready"]) as port, httpx2.AsyncClient() as http:
        base = f"http://127.0.0.1:{port}"
        assert (await http.get(f"{base}/health/live")).status_code == 200
        assert (await http.get(f"{base}/health/ready")).status_code == 503
        state["ready"] = True
        assert (await http.get(f"{base}/health/ready?x=1")).text == "ready\n"
        assert "python_info" in (await http.get(f"{base}/metrics")).text
        assert (await http.get(f"{base}/secrets")).status_code == 404
        assert (await http.post(f"{base}/health/live")).status_code == 405


@pytest.mark.parametrize("request_bytes", [b"\r\n\r\n", b"GET", b"\xff" * 20_000, b"GET /\r\n\r\n"])
async def test_nonsense_stops_nobody(request_bytes):
    """A probe that does not speak HTTP is dropped, and the next one is served."""
    async with serve_health(0, lambda: True) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        writer.write_eof()
        await reader.read()
        writer.close()
        async with httpx2.AsyncClient() as http:
            live = await http.get(f"http://127.0.0.1:{port}/health/live")
        assert live.status_code == 200


async def test_processes_share_one_setting():
    """Two processes with the same port setting get the port and the next free one."""
    async with (
        serve_health(0, lambda: True) as first,
        serve_health(first, lambda: True) as second,
    ):
        assert first < second < first + 32
