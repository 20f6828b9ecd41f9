"""Tables only, one noun a file: no queries and no business logic.

Importing this package registers every table, which the migrations and the policy sync rely on.
"""

from models.activity import ActivityRecord
from models.alert import Alert
from models.audit import AuditRecord
from models.cap import Cap
from models.connection import Connection
from models.credits import CreditBucket, CreditWindow, Limit, Reservation, UsageRecord
from models.data_link import DataLink
from models.dead_letter import DeadLetter
from models.element import Element
from models.element_version import ElementVersion
from models.flow_trigger import FlowTrigger, TriggerChange
from models.idempotency import IdempotencyKey
from models.node_run import NodeRun
from models.run import Run
from models.schedule import Schedule
from models.sealed import DataKey, SealedValue
from models.tenant import Tenant
from models.webhook import WebhookDelivery, WebhookEndpoint, WebhookSecret
from models.workspace import SigningSecret, Workspace

__all__ = [
    "ActivityRecord",
    "Alert",
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
    "FlowTrigger",
    "IdempotencyKey",
    "Limit",
    "NodeRun",
    "Reservation",
    "Run",
    "Schedule",
    "SealedValue",
    "SigningSecret",
    "Tenant",
    "TriggerChange",
    "UsageRecord",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookSecret",
    "Workspace",
]
