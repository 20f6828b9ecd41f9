"""What an operator can set, read from the environment once, here and nowhere else."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import ConfigurationError

__all__ = ["ROLES", "Role", "Settings", "settings"]

#: The database logins that Vesicle's processes use; none of them may bypass row security.
Role = Literal["authenticator", "runtime", "manager", "proxy", "worker", "scheduler", "messenger"]
ROLES: tuple[Role, ...] = (
    "authenticator",
    "runtime",
    "manager",
    "proxy",
    "worker",
    "scheduler",
    "messenger",
)


class Settings(BaseSettings):
    """Settings of one process. Every field is the environment variable VESICLE_<FIELD>.

    DATABASE_URL and REDIS_URL are also read without the prefix, as hosting platforms set them.
    """

    model_config = SettingsConfigDict(env_prefix="VESICLE_", populate_by_name=True, extra="ignore")

    #: Where the embedded servers, the keys and the runtime file live.
    home: Path = Path(".vesicle")
    host: str = "127.0.0.1"
    #: Port of the HTTP API.
    port: int = 8600
    #: Where workers reach the API when custom code calls it; by default at `port` of this machine.
    internal_api_url: str | None = None

    #: Login of the owner role, which migrates. Processes derive their own role's URL from it.
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL", "VESICLE_DATABASE_URL")
    )
    redis_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("REDIS_URL", "VESICLE_REDIS_URL")
    )
    #: The program that is started without REDIS_URL, such as the redis-server of some version, and
    #: that the tests run on; by default the Valkey that is installed.
    redis_server: Path | None = None
    #: RabbitMQ to carry messages instead of lanes, `amqp://…`; Redis is needed all the same.
    rabbitmq_url: SecretStr | None = None
    #: A role's own URL; wins over the one that is derived from DATABASE_URL and the root key.
    database_url_authenticator: SecretStr | None = None
    database_url_runtime: SecretStr | None = None
    database_url_manager: SecretStr | None = None
    database_url_proxy: SecretStr | None = None
    database_url_worker: SecretStr | None = None
    database_url_scheduler: SecretStr | None = None
    database_url_messenger: SecretStr | None = None

    #: 32 random bytes in base64: stamps, cursors and role passwords are derived from it.
    root_key: SecretStr | None = None
    #: `id:base64,id:base64`: the keys that wrap data keys. The first wraps, all unwrap.
    master_keys: SecretStr | None = None

    #: Longest time in seconds for which POST …/run waits before it answers 202 with a handle.
    sync_wait: float = 50.0
    #: Largest request body in bytes.
    max_body: int = 10_000_000
    #: Largest answer in bytes that is read from an outside app, after decompression.
    max_response: int = 30_000_000
    #: Longest outside call in seconds, all redirects included.
    call_timeout: float = 60.0
    #: Requests that pass through over a connection: bytes of either body and seconds of the whole,
    #: and how many of one tenant each API process has under way at once.
    proxy_body: int = Field(default=100_000_000, ge=1)
    proxy_timeout: float = Field(default=60.0, gt=0, le=100)
    proxy_calls: int = Field(default=100, ge=1)
    #: Private addresses that outside calls may reach: `host`, `host:port` or a CIDR, by comma.
    egress_allow: str = ""
    #: Whether outside calls may use http instead of https.
    egress_http: bool = False

    #: Where the product and outside apps reach the API, such as https://events.example.com; the
    #: addresses of webhooks begin with it. By default at `port` of this machine.
    public_url: str | None = None
    #: Bytes of a post of events and of one event in it, and events a second under one webhook key
    #: that each API process takes.
    event_body: int = Field(default=5_000_000, ge=1)
    event_size: int = Field(default=1_000_000, ge=1)
    event_rate: float = Field(default=100.0, gt=0)
    #: Days for which events, webhooks and pulls are kept; an event is known again for as long.
    event_retention: float = Field(default=14.0, gt=0)
    #: The least seconds between two pulls of what is new, and between two of everything.
    pull_interval: int = Field(default=60, ge=1)
    full_sync_interval: int = Field(default=600, ge=1)

    #: Runs of one tenant that may wait, unless a cap says otherwise.
    backlog: int = 10_000
    #: Runs that one worker process holds at once.
    slots: int = 256
    #: Threads for registered functions that block.
    threads: int = 16
    #: Custom code: `isolated` refuses to run it on a machine that cannot shut it in, `unsafe` runs
    #: it all the same, `off` never does.
    sandbox: Literal["isolated", "unsafe", "off"] = "isolated"
    #: Runs of custom code that one worker process has under way at once, at most half of them one
    #: tenant's; and what each may use: bytes of memory, stack, result and log, and seconds of
    #: processor time.
    sandbox_runs: int = Field(default=16, ge=1)
    sandbox_memory: int = Field(default=128 << 20, ge=16 << 20)
    sandbox_cpu: float = Field(default=10.0, gt=0)
    sandbox_stack: int = Field(default=1 << 20, ge=1 << 16, le=4 << 20)
    sandbox_output: int = Field(default=5_000_000, ge=1)
    sandbox_log: int = Field(default=65_536, ge=0)
    #: Webhooks that one worker process sends at once, 0 for none, and to one endpoint, whatever
    #: process sends them; seconds that each may take.
    webhook_calls: int = Field(default=64, ge=0)
    webhook_calls_each: int = Field(default=10, ge=1)
    webhook_timeout: float = Field(default=30.0, gt=0, le=300)
    #: Seconds of nothing but failures after which an endpoint is switched off: 5 days.
    webhook_patience: float = Field(default=5 * 86_400, gt=0)
    #: Days for which deliveries are kept.
    webhook_retention: float = Field(default=14, gt=0)
    #: Failed runs of one workspace that nobody has dealt with, at which an alert is raised.
    dead_letter_alert: int = Field(default=100, ge=1)
    #: Live streams of one tenant, or of a workspace's managers, in one API process.
    live_streams: int = Field(default=50, ge=1)
    #: Seconds for which a claimed run is held without a sign of life from its worker.
    lease: float = 10.0
    #: Seconds that a stopping worker gives its runs before it hands them back.
    grace: float = 25.0
    #: Port on which each process answers probes and shows its metrics; 0 picks a free one.
    health_port: int = 0
    #: The address of that port; beyond loopback, metrics need the token.
    health_host: str = "127.0.0.1"
    metrics_token: SecretStr | None = None
    #: Which server `vesicle pull` and `vesicle push` speak with, and the workspace whose secret
    #: signs their tokens; without them the instance that runs on this machine.
    api_url: str | None = None
    workspace_key: str | None = None
    workspace_secret: SecretStr | None = None
    #: How log lines look.
    log_format: Literal["json", "console"] = "json"
    log_level: str = "INFO"

    #: Leeway in seconds for the clocks of those who sign tokens.
    token_leeway: int = 30

    def required_redis_url(self) -> str:
        """Return the URL of Redis or Valkey; ConfigurationError if none is set."""
        if self.redis_url is None:
            raise ConfigurationError(
                "REDIS_URL is not set. Start the embedded servers with `vesicle up`, or name a"
                " Redis (7.2 or newer) or Valkey (8 or newer)."
            )
        return self.redis_url.get_secret_value()


@cache
def settings() -> Settings:
    """Return this process's settings; the environment is read at the first call."""
    return Settings()
