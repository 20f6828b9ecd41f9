"""The middleware of every worker, in one place and in order.

Hooks fail open: whatever one raises except a MiddlewareError is logged by dramatiq and the actor
runs all the same; what an after-hook raises is lost. So a hook may only refuse (`message.fail()`
and SkipMessage), bind, or observe. Everything else about a run happens in `runtime.execution`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import structlog
from dramatiq import Middleware
from dramatiq.middleware import SkipMessage
from structlog.contextvars import bind_contextvars, unbind_contextvars

from workers.host import Lifespan, LoopHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Broker, MessageProxy

__all__ = ["LogContext", "RequireStamp", "Verify", "build_stack"]

#: Raises, whatever it likes, unless the message's stamp is ours and fits the message.
Verify: TypeAlias = "Callable[[MessageProxy], None]"

log = structlog.get_logger(__name__)


def build_stack(
    verify: Verify, *, slots: int, grace: float, lifespan: Lifespan | None = None
) -> list[Middleware]:
    """Return the middleware; before-hooks run from first to last, after-hooks from last to first.

    Dramatiq's own are left out: Retries (the consumer retries atomically), TimeLimit and
    ShutdownNotifications (they interrupt threads, not coroutines), Results (they are rows).
    """
    return [
        # Bind: first, so that a refusal is logged with the run it refuses.
        LogContext(),
        # Refuse: before anything looks into the message.
        RequireStamp(verify),
        # Host: no part in messages; it starts and stops the event loop with the process.
        LoopHost(slots=slots, grace=grace, lifespan=lifespan),
    ]


class LogContext(Middleware):
    """Puts the run and its tenant on every log line that is written while a message is handled."""

    _FIELDS = ("run_id", "workspace_id", "tenant_id")

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002 - dramatiq's signature
        """Bind what the message says of itself."""
        said = message.kwargs  # read once: a proxy looks into its message each time
        named = {name: said[name] for name in self._FIELDS if name in said}
        bind_contextvars(message_id=message.message_id, **named)

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002 - dramatiq's signature
        message: MessageProxy,  # noqa: ARG002 - dramatiq's signature
        *,
        result: object = None,  # noqa: ARG002 - dramatiq's signature
        exception: BaseException | None = None,  # noqa: ARG002 - dramatiq's signature
    ) -> None:
        """Unbind: a thread goes on to another tenant's message."""
        unbind_contextvars("message_id", *self._FIELDS)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Unbind after a refusal too."""
        self.after_process_message(broker, message)


class RequireStamp(Middleware):
    """Refuses every message whose stamp is missing, forged, or speaks of another run or tenant."""

    def __init__(self, verify: Verify) -> None:
        """Take the check; any exception of its means no."""
        self._verify = verify

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002 - dramatiq's signature
        """Let a message pass, or fail it and skip its actor."""
        try:
            self._verify(message)
        except Exception as error:
            reason = f"stamp_{getattr(error, 'reason', 'refused')}"
            log.warning("message refused", reason=reason)
            message.fail()
            raise SkipMessage(reason) from error
