"""A process that owns the embedded servers of a home, for tests to kill.

    owner.py HOME [nobody] [untied]

Prints its URLs as JSON, then looks after the servers until its standard input closes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import select
import sys
from pathlib import Path

from launch.embedded import Embedded, postgres, server, valkey


def become_nobody() -> None:
    """Give up root, after one look at everything that may lie where only root can read."""
    postgres.accepts_login("postgresql://nobody:x@127.0.0.1:1/x")
    valkey.answers_ping("redis://127.0.0.1:1/0")
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def main() -> None:
    home, options = Path(sys.argv[1]), sys.argv[2:]
    if "nobody" in options:
        become_nobody()
    if "untied" in options:  # as on a system whose kernel does not end children with us
        server.dies_with_us = lambda _number: lambda: None
    embedded = Embedded(home)
    print(json.dumps(dataclasses.asdict(embedded.up())), flush=True)  # noqa: T201 - the answer
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        embedded.watch()
    embedded.down()


if __name__ == "__main__":
    main()
