"""What the published package is, seen from outside."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import vesicle
from vesicle import Vesicle

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client"


def test_the_package_stands_alone():
    """Importing it loads nothing of the server and no dependency that it does not declare."""
    code = "import sys, vesicle, vesicle.testing; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": str(CLIENT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )

    server = {"runtime", "workers", "scheduler", "models", "launch"}
    its_libraries = {"fastapi", "pydantic", "sqlalchemy", "psycopg", "redis", "dramatiq"}
    assert not (server | its_libraries) & set(done.stdout.split())


def test_the_metadata_is_true():
    """Name, version and marker file are what an installer and a type checker look for."""
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]

    assert project["name"] == "vesicle"
    assert [line.split(">")[0] for line in project["dependencies"]] == ["httpx2", "pyjwt"]
    assert vesicle.__version__ == "0.1.0"
    assert (CLIENT / "src/vesicle/py.typed").exists()


def test_type_checkers_tell_the_clients_apart():
    """Under mypy --strict the blocking client gives results and the async one coroutines."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/client/typed_usage.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_the_readmes_test_example_works():
    """What the README tells a product's tests to do passes as it stands."""
    example = (CLIENT / "README.md").read_text().split("```python\n")[2].split("```")[0]
    names: dict[str, Any] = {}

    exec(example, names)  # noqa: S102 - our own README

    assert len(names["vesicle"].calls) == 1
    names["vesicle"].close()


def test_methods_document_themselves():
    """Editors and help() see each method's own parameters and text."""
    with Vesicle(token="opaque") as client:
        run = client.tenant("acme").action("k").run

        assert {"input", "connection", "timeout", "idempotency_key"} <= set(
            inspect.signature(run).parameters
        )
        assert "Run the action" in run.__doc__
