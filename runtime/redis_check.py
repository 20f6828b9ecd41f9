"""Finds out whether Redis or Valkey can do, may do and keeps what the queue needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

__all__ = [
    "COMMANDS",
    "EVICTING",
    "FORBIDDEN",
    "eviction_policy",
    "forbidden",
    "judge_version",
    "keeps_all",
    "server_version",
    "warn_if_unfit",
]

log = structlog.get_logger(__name__)

#: What is wrong with any other policy than noeviction, and what to do.
EVICTING = (
    "when its memory is full, queued messages are thrown away in silence, and caps and shares with"
    " them; set `maxmemory-policy noeviction`, with which it refuses new ones instead"
)

#: What to do about commands that our user may not use.
FORBIDDEN = "the queue does not work without them; allow them on ~{vesicle}:* and &vesicle:*"

#: The oldest versions that are tested.
_OLDEST = {"Redis": (7, 2), "Valkey": (8, 0)}

#: Every command that Vesicle sends or its scripts call, with arguments that name one of our keys or
#: channels where it takes any. EVAL is not among them: it is what asks.
_KEY, _CHANNEL = "{vesicle}:default:ready", "vesicle:changes"
COMMANDS: dict[str, tuple[str, ...]] = {
    "BLPOP": (_KEY, "0"),
    "EVALSHA": ("", "1", _KEY),
    "INFO": (),
    "PING": (),
    "PUBLISH": (_CHANNEL, ""),
    "SUBSCRIBE": (_CHANNEL,),
    "TIME": (),
    "UNSUBSCRIBE": (_CHANNEL,),
    **dict.fromkeys(
        (
            *("DEL", "EXISTS", "EXPIRE", "GET", "RPUSH", "SET"),
            *("HDEL", "HEXISTS", "HGET", "HGETALL", "HINCRBY", "HKEYS", "HLEN", "HMGET", "HSET"),
            *("HSETNX", "HVALS", "SADD", "SMEMBERS", "SREM"),
            *("ZADD", "ZCARD", "ZCOUNT", "ZINCRBY", "ZPOPMAX", "ZPOPMIN"),
            *("ZRANGE", "ZRANK", "ZREM", "ZSCORE"),
        ),
        (_KEY,),
    ),
}

#: Has the server itself tell, so that nothing is written to find out. It raises for a command that
#: was renamed away.
_FORBIDDEN = """
local forbidden = {}
if not redis.acl_check_cmd then return forbidden end -- older than Redis 7.0, and so too old
for _, command in ipairs(cjson.decode(ARGV[1])) do
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  if not (known and allowed) then forbidden[#forbidden + 1] = command[1] end
end
return forbidden
"""


async def forbidden(redis: Redis) -> list[str]:
    """Return the commands that our user may not use on our keys and channels.

    Raises what Redis clients raise if the server cannot be reached.
    """
    asked = orjson.dumps([(name, *arguments) for name, arguments in COMMANDS.items()])
    try:
        names = await cast("Any", redis).eval(_FORBIDDEN, 0, asked)
    except NoPermissionError:
        return ["EVAL"]
    return [name.decode() for name in names]


async def server_version(redis: Redis) -> tuple[str, str | None]:
    """Return the name and version of the server, and what is wrong with it.

    Raises what Redis clients raise if the server cannot be reached.
    """
    try:
        return judge_version(cast("dict[str, object]", await redis.info("server")))
    except ResponseError:
        return judge_version({})


def judge_version(info: Mapping[str, object]) -> tuple[str, str | None]:
    """Return what INFO calls the server, and what is wrong with it; a hidden version is trusted.

    Valkey calls itself Redis 7.2 too, for the sake of old clients.
    """
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version"))
    parts = re.match(r"(\d+)\.(\d+)", version)
    if parts is None:
        return f"{name} of unknown version", None
    oldest = _OLDEST[name]
    needed = f"too old: at least {name} {'.'.join(map(str, oldest))} is needed"
    return f"{name} {version}", None if tuple(map(int, parts.groups())) >= oldest else needed


async def eviction_policy(redis: Redis) -> str | None:
    """Return `maxmemory-policy`; None if the server does not say, as some hosted ones do.

    Raises what Redis clients raise if the server cannot be reached.
    """
    try:
        # INFO is allowed where CONFIG is not.
        info = cast("dict[str, object]", await redis.info("memory"))
    except ResponseError:
        return None
    policy = info.get("maxmemory_policy")
    return None if policy is None else str(policy)


def keeps_all(policy: str | None) -> bool:
    """Return whether a policy keeps all messages; one that is not known is trusted.

    It does not matter whether `maxmemory` is set today: with another policy, the day on which it
    is set is the day on which messages begin to disappear.
    """
    return policy in (None, "noeviction")


async def warn_if_unfit(redis: Redis) -> None:
    """Write to the log what will not work with this server; that it is away is no news here."""
    try:
        server, fault = await server_version(redis)
        policy = await eviction_policy(redis)
        missing = await forbidden(redis)
    except (RedisError, OSError):
        return
    if fault is not None:
        log.warning("redis.too_old", server=server, because=fault)
    if not keeps_all(policy):
        log.warning("redis.evicts", policy=policy, because=EVICTING)
    if missing:
        log.warning("redis.forbids", commands=missing, because=FORBIDDEN)
