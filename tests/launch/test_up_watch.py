"""`vesicle up` and servers that cannot start again for a while."""

from __future__ import annotations

from launch import up
from runtime.errors import ServiceUnavailableError


class _Nothing:
    def tend(self):
        """Look after nobody."""


class _Full:
    """A server on a full disk, which does not start until there is room."""

    def __init__(self):
        self.tries, self.has_room = 0, False

    def watch(self):
        self.tries += 1
        if not self.has_room:
            message = "postgres ended before it answered"
            raise ServiceUnavailableError(message)


def test_a_server_that_does_not_start_is_tried_again(monkeypatch):
    """It stays up, waits a little longer after each failure, and goes on when there is room."""
    now = [100.0]
    monkeypatch.setattr(up, "monotonic", lambda: now[0])
    server = _Full()
    running = up.Running(None, "", _Nothing(), server)
    tries = []
    for _ in range(200):  # twenty seconds, with ten looks in each
        running.tend()
        now[0] += 0.1
        tries.append(server.tries)
    assert tries[-1] == 5  # at once, and after 1, 2, 4 and 8 seconds
    server.has_room = True
    now[0] += 60
    for _ in range(3):
        running.tend()
    assert server.tries == 8
