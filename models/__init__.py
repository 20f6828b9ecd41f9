"""Tables only, one noun a file: no queries and no business logic.

Importing this package registers every table, which the migrations and the policy sync rely on.
"""

from models.activity import ActivityRecord
from models.audit import AuditRecord
from models.cap import Cap
from models.connection import Connection
from models.credits import CreditBucket, CreditWindow, Limit, Reservation, UsageRecord
from models.data_link import DataLink
from models.dead_letter import DeadLetter
from models.element import Element
from models.element_version import ElementVersion
from models.idempotency import IdempotencyKey
from models.node_run import NodeRun
from models.run import Run
from models.sealed import DataKey, SealedValue
from models.tenant import Tenant
from models.workspace import SigningSecret, Workspace

__all__ = [
    "ActivityRecord",
    "AuditRecord",
    "Cap",
    "Connection",
    "CreditBucket",
    "CreditWindow",
    "DataKey",
    "DataLink",
    "DeadLetter",
    "Element",
    "ElementVersion",
    "IdempotencyKey",
    "Limit",
    "NodeRun",
    "Reservation",
    "Run",
    "SealedValue",
    "SigningSecret",
    "Tenant",
    "UsageRecord",
    "Workspace",
]
