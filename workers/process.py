"""What one worker process works with, opened on its event loop and closed at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from runtime.actions.own_api import OwnApi
from runtime.actions.perform import Performer
from runtime.actions.prepared import Preparer
from runtime.actions.refresh import Refresher
from runtime.changes import Changes
from runtime.connectors.client import OutboundClient
from runtime.connectors.egress import EgressPolicy
from runtime.credentials.vault import Vault
from runtime.db import Database, role_url
from runtime.dispatch import Dispatch
from runtime.events.working import EventWork
from runtime.execution import Execution
from runtime.flows.actions import ActionNodes
from runtime.flows.children import Children
from runtime.flows.node_runs import NodeRecords
from runtime.flows.running import Flows
from runtime.functions.registry import Functions
from runtime.health import serve_health
from runtime.keys import RootKey
from runtime.lanes.client import connect
from runtime.news import Watched
from runtime.rabbitmq import open_carrier
from runtime.redis_check import warn_if_unfit
from runtime.run_records import RunRecords
from runtime.runs.holder import Holder
from runtime.sandbox.pool import Sandbox
from runtime.settings import Settings
from runtime.signals import listen
from runtime.stamps import MessageStamps
from runtime.workload import Workload
from workers.letters import Letters
from workers.webhooks import delivering

__all__ = ["WorkerProcess"]


@dataclass(slots=True)
class WorkerProcess:
    """The parts of a worker. Actors find the execution here while the process is open."""

    settings: Settings
    root: RootKey
    vault: Vault
    functions: Functions | None = None
    execution: Execution | None = None
    letters: Letters = field(default_factory=Letters)

    @asynccontextmanager
    async def open(self, ready: Callable[[], bool], workload: Workload) -> AsyncIterator[None]:
        """Open everything that runs need; `ready` says whether the consumer can take work.

        Runs that wait outside are left out of its `workload`.
        """
        settings, redis_url = self.settings, self.settings.required_redis_url()
        async with contextlib.AsyncExitStack() as stack:
            database = await stack.enter_async_context(Database(settings, self.root, ["worker"]))
            redis = connect(redis_url)
            stack.push_async_callback(redis.aclose)
            listening = connect(redis_url, patience=None)
            stack.push_async_callback(listening.aclose)
            client = OutboundClient(
                EgressPolicy(settings.egress_allow, http=settings.egress_http),
                timeout=settings.call_timeout,
                max_response=settings.max_response,
                max_connections=settings.slots,
            )
            stack.push_async_callback(client.close)
            functions = self.functions or Functions.registered(threads=settings.threads)
            stack.callback(functions.close)
            sandbox = Sandbox(settings)
            stack.push_async_callback(sandbox.close)
            own_api = OwnApi(settings, self.root)
            stack.push_async_callback(own_api.close)
            changes = Changes(role_url(settings, self.root, "worker"))
            preparer = Preparer(database, self.vault, changes)
            holder = Holder(database, lease=settings.lease)
            performer = Performer(
                database,
                client,
                functions,
                preparer,
                Refresher(database, self.vault, client),
                sandbox,
                own_api,
            )
            watched = Watched(redis)
            records = RunRecords(database, redis, lease=settings.lease, watched=watched)
            node_records = NodeRecords(database, watched)
            dispatch = Dispatch(redis, MessageStamps(self.root), open_carrier(settings))
            self.execution = Execution(
                records=records,
                flows=Flows(
                    database,
                    node_records,
                    ActionNodes(database, preparer, performer, records, node_records, workload),
                    Children(database, redis, dispatch, node_records),
                ),
                events=EventWork(database, self.vault, settings, dispatch, performer),
                preparer=preparer,
                performer=performer,
                holder=holder,
                workload=workload,
            )
            await stack.enter_async_context(self.letters.kept_in(database))
            await stack.enter_async_context(delivering(settings, self.root, self.vault))
            await stack.enter_async_context(
                serve_health(
                    settings.health_port,
                    ready,
                    host=settings.health_host,
                    token=settings.metrics_token,
                )
            )
            await warn_if_unfit(redis)
            for work in (
                holder.keep(),
                changes.listen(),
                listen(listening, holder.stop),
                watched.listen(listening),
            ):
                stack.callback(asyncio.create_task(work).cancel)
            yield
