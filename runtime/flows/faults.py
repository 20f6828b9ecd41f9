"""How a branch of a flow stops short of its end."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import ActionRunError, VesicleError

__all__ = ["NodeFailedError", "SupersededError", "SuspendedError", "earliest"]


class NodeFailedError(ActionRunError):
    """A node failed, and its flow with it; `data` says which and why."""

    def __init__(self, node_key: str, error: VesicleError | dict[str, object]) -> None:
        """Take what the node came to."""
        cause = error if isinstance(error, dict) else error.body()
        super().__init__(
            f"The node {node_key!r} failed: {cause.get('message')}",
            data={"nodeKey": node_key, "cause": cause},
        )


@dataclass
class SuspendedError(Exception):
    """Nothing more can be done on a branch before a time, or before a signal comes."""

    #: Seconds; None if only a signal can end the wait.
    delay: float | None
    #: What it waits for, in a sentence.
    what: str
    #: Whether it is tried again because of trouble, and not because the flow says so.
    is_trouble: bool = False


class SupersededError(BaseException):
    """The run is another worker's by now: nothing that is done here counts any more.

    Not an Exception, so that no node takes it for its own failure; and not a CancelledError, which
    a group of tasks would take for the end of one of them only.
    """


def earliest(waits: list[SuspendedError]) -> SuspendedError:
    """Return the wait that ends first."""
    return min(waits, key=lambda wait: float("inf") if wait.delay is None else wait.delay)
