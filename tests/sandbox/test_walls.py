"""What keeps a run's process in: even native code in it could do nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import ConfigurationError
from runtime.sandbox import seccomp
from runtime.sandbox.pool import Sandbox
from runtime.settings import Settings
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("user", ["as we are", "nobody"])
def test_native_code_can_do_nothing(user):
    """No file, socket, process, signal, right or executable memory can be had any more."""
    if user == "nobody" and os.geteuid() != 0:
        user = "as we are"  # nobody but root can become somebody else
    result = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.attempts", user],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    )
    came_to = json.loads(result.stdout)
    came_to.pop("walls")
    assert [name for name, end in came_to.items() if end == "done"] == []
    assert len(came_to) > 20


async def test_the_process_has_nothing(make_runner):
    """A run's process has no environment, no open file but its socket, no rights and a filter."""
    runner = make_runner()
    await runner.run("export default () => 1")
    nursery = runner.sandbox._nursery.process.pid
    child = (await eventually(runner.idle))[0]
    status = await eventually(lambda: _status(child))
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert set(fields["Uid"].split()) == {"65534"}
        assert os.listdir(f"/proc/{child}/fd") == ["0"]  # noqa: PTH208 - names only
    # With threads it could not leave its user namespace, nor be forked safely.
    assert len(os.listdir(f"/proc/{nursery}/task")) == 1  # noqa: PTH208 - names only
    names = {each.split(b"=")[0] for each in _environment(nursery)}
    assert names <= {b"TZ", b"LC_ALL"}


def _status(process: int) -> str:
    """Return what the kernel says of a process, once it is shut in."""
    text = Path(f"/proc/{process}/status").read_text()
    return text if "Seccomp:\t2" in text else ""


def _children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def _environment(process: int) -> list[bytes]:
    return [each for each in Path(f"/proc/{process}/environ").read_bytes().split(b"\0") if each]


async def test_no_code_without_walls(make_runner, monkeypatch):
    """Where a process cannot be shut in, code is refused, unless the operator trusts all code."""
    monkeypatch.setattr("runtime.sandbox.pool._PROGRAM", _WITHOUT_FILTER)
    with pytest.raises(ConfigurationError, match="cannot shut custom code in"):
        await make_runner().run("export default () => 1")
    assert await make_runner(sandbox="unsafe").run("export default () => 1") == 1


#: As on a kernel without seccomp.
_WITHOUT_FILTER = """
import sys
sys.path[:] = {path!r}
from runtime.sandbox import nursery, seccomp
def install():
    raise OSError("no seccomp")
seccomp.install = install
nursery.main()
"""


async def test_code_can_be_switched_off(make_runner):
    """An operator who wants no custom code gets none."""
    with pytest.raises(ConfigurationError, match="VESICLE_SANDBOX"):
        await make_runner(sandbox="off").run("export default () => 1")


async def test_closing_leaves_no_process():
    """A sandbox that is closed has taken its processes with it."""
    sandbox = Sandbox(Settings())
    assert await sandbox.run("module.exports = () => 1", {}, {}, [], tenant="acme", timeout=5) == 1
    process = sandbox._nursery.process
    children = _children(process.pid)
    await sandbox.close()
    assert process.poll() is not None
    await eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def test_a_machine_that_is_not_known():
    """On a machine whose system calls are not listed, nothing is installed by guess."""
    with pytest.raises(OSError, match="riscv64"):
        seccomp._program("riscv64")
