"""Run a tenant's actions on Vesicle.

    from vesicle import Vesicle

    vesicle = Vesicle(workspace_key="...", workspace_secret="...")
    acme = vesicle.tenant("customer-123", name="Acme Corp")
    deals = acme.action("list-deals").run({"stage": "won"}).output

`AsyncVesicle` has the same names, for `await`. `vesicle.testing` has fakes of both for a product's
own tests. Every error is a `VesicleError`; see `vesicle.errors`.
"""

from __future__ import annotations

from vesicle.actions import Action, ConnectionAction
from vesicle.client import AsyncVesicle, Vesicle
from vesicle.connections import Connection
from vesicle.drivers import Blocking, Concurrent
from vesicle.errors import (
    AccessDenied,
    ActionRunFailed,
    AlreadyExists,
    AmbiguousConnection,
    BadRequest,
    Configuration,
    ConnectionDefunct,
    ConnectionFailed,
    InsufficientCredit,
    Internal,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    RateLimitExceeded,
    RevisionConflict,
    RunStopped,
    RunTimedOut,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    VesicleError,
    WaitTimedOut,
)
from vesicle.flows import Flow, Schedule
from vesicle.runs import Run, RunHandle, RunResult
from vesicle.scopes import ManagerScope, TenantScope
from vesicle.tokens import Identity
from vesicle.version import VERSION as __version__  # noqa: N811 - the name that tools look for
from vesicle.wire import Page

__all__ = [
    "AccessDenied",
    "Action",
    "ActionRunFailed",
    "AlreadyExists",
    "AmbiguousConnection",
    "AsyncVesicle",
    "BadRequest",
    "Blocking",
    "Concurrent",
    "Configuration",
    "Connection",
    "ConnectionAction",
    "ConnectionDefunct",
    "ConnectionFailed",
    "Flow",
    "Identity",
    "InsufficientCredit",
    "Internal",
    "InvalidInput",
    "ManagerScope",
    "NotAuthenticated",
    "NotFound",
    "Page",
    "RateLimitExceeded",
    "RevisionConflict",
    "Run",
    "RunHandle",
    "RunResult",
    "RunStopped",
    "RunTimedOut",
    "Schedule",
    "TenantScope",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "Vesicle",
    "VesicleError",
    "WaitTimedOut",
    "__version__",
]
