"""Tenants: what a token says of itself, and the tenants that a workspace's manager looks after."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, ManagerCaller, TenantCaller
from runtime.api.limit_writes import LimitBody, amount_of, place_of, recorded
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import flag, query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_bodies import (
    Document,
    NewTenant,
    TenantPatch,
    TenantReplacement,
    changes_of,
)
from runtime.api.tenant_names import selector_of
from runtime.api.tenant_writes import TenantWrite
from runtime.changes import announce_stop
from runtime.credits.manage import public_limit, put_limit
from runtime.errors import BadRequestError
from runtime.tenancy import Owner
from runtime.tenants.archive import Halted, archive_tenant, halt_runs, restore_tenant
from runtime.tenants.store import (
    TenantFilter,
    TenantSelector,
    find_tenant,
    list_tenants,
    public_tenant,
)
from runtime.validation import parse
from runtime.waiting import tell_ended
