"""The CRM as a real process on a free port, put back to its seeds before each test."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
ANNOUNCEMENT = "crm listening on "


@dataclass(frozen=True)
class Running:
    """A started CRM: its process and the address that it printed."""

    process: subprocess.Popen[str]
    url: str

    def stop(self) -> str:
        """Stop it; gives all that it wrote to stderr."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]


@pytest.fixture(scope="session")
def start_crm() -> Callable[[], Running]:
    """Starts a CRM and reads its address."""

    def start() -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.crm", "--host", "127.0.0.1", "--port", "0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(ANNOUNCEMENT):
            process.kill()
            pytest.fail(f"the CRM printed {line!r} and {process.communicate()[1]}")
        return Running(process, line.removeprefix(ANNOUNCEMENT).strip())

    return start


@pytest.fixture(scope="session")
def running_crm(start_crm: Callable[[], Running]) -> Iterator[Running]:
    """The CRM that the tests of this folder share; it must never complain on stderr."""
    running = start_crm()
    complaints = ""
    try:
        yield running
    finally:
        complaints = running.stop()
    assert complaints == ""


@pytest.fixture
def nobody(running_crm: Running) -> Iterator[httpx2.Client]:
    """A client without credentials of a freshly reset CRM."""
    with httpx2.Client(base_url=running_crm.url, timeout=20) as client:
        client.post("/_admin/reset").raise_for_status()
        yield client


@pytest.fixture
def acme(running_crm: Running, nobody: httpx2.Client) -> Iterator[httpx2.Client]:
    """A client on acme's API key."""
    headers = {"X-Api-Key": "crm-acme-key"}
    with httpx2.Client(base_url=running_crm.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def globex(running_crm: Running, nobody: httpx2.Client) -> Iterator[httpx2.Client]:
    """A client on globex's API key."""
    headers = {"X-Api-Key": "crm-globex-key"}
    with httpx2.Client(base_url=running_crm.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def ask_token(nobody: httpx2.Client) -> Callable[..., httpx2.Response]:
    """Posts a form to the token endpoint as acme's client, or as another one."""

    def ask(client: str = "acme", **form: Any) -> httpx2.Response:
        auth = (f"{client}-client", f"{client}-secret")
        return nobody.post("/oauth/token", data=form, auth=auth)

    return ask
