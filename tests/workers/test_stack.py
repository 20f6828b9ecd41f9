"""The middleware: who is refused, and what log lines say."""

from __future__ import annotations

import pytest
import structlog
from dramatiq import Message
from dramatiq.middleware import SkipMessage
from structlog.contextvars import get_contextvars

from workers.delivery import Delivery
from workers.stack import LogContext, RequireStamp, build_stack


def delivery(**kwargs):
    message = Message("runs", "run", (), kwargs, {"stamp": "x"})
    return Delivery(message, message.message_id)


def test_log_lines_name_run_and_tenant():
    """What is bound before a message is gone after it, whether it was run or skipped."""
    structlog.contextvars.clear_contextvars()
    message = delivery(run_id="r", workspace_id="w", tenant_id="t", kind="action")
    for end in ("after_process_message", "after_skip_message"):
        LogContext().before_process_message(None, message)
        assert get_contextvars() == {
            "message_id": message.message_id,
            "run_id": "r",
            "workspace_id": "w",
            "tenant_id": "t",
        }
        getattr(LogContext(), end)(None, message)
        assert get_contextvars() == {}


@pytest.mark.parametrize("error", [ValueError("forged"), KeyError("stamp"), SkipMessage("no")])
def test_any_error_of_the_check_refuses(error):
    """A check that raises, even by mistake, fails the message and skips its actor."""

    def verify(_message):
        raise error

    message = delivery()
    with pytest.raises(SkipMessage):
        RequireStamp(verify).before_process_message(None, message)
    assert message.failed


def test_a_good_stamp_passes():
    """A check that returns lets the message pass."""
    message = delivery()
    RequireStamp(lambda _message: None).before_process_message(None, message)
    assert not message.failed


def test_order():
    """A refusal is logged with its run: binding comes before refusing."""
    names = [type(one).__name__ for one in build_stack(lambda _m: None, slots=1, grace=1.0)]
    assert names.index("LogContext") < names.index("RequireStamp")
    assert not {"Retries", "TimeLimit", "Results", "ShutdownNotifications"} & set(names)
