-- The state of the queues, and the shares by which they are served. Prepended to every script.
--
-- KEYS[1] is a queue's prefix, `{vesicle}:<queue>`. The braces keep all queues on one Redis shard,
-- because caps bound what is held over all of them. Below a queue's prefix hang
--   messages          HASH  id -> record: workspace, tenant, priority, connection, element, payload
--   lane:<lane>       ZSET  id -> place, the order inside a lane; a lane is workspace SEP tenant
--   delayed           ZSET  id -> when it becomes due, in milliseconds
--   held:<consumer>   HASH  id -> cost, place, workspace, tenant, connection, element
--   beats             ZSET  consumer -> last sign of life, in milliseconds
--   tries             HASH  id -> how often it met trouble and backed off
--   dead              ZSET  id -> when it was given up; dead:messages HASH id -> reason SEP record
--   wake, spare       LIST  at most one token each, on which consumers block that have free slots,
--                           and that have none left but those kept for tenants that hold little
--   seen              the last beat of any consumer, in milliseconds
--   delayed:lanes, parked:lanes  HASH  lane -> how many of its messages are delayed, or parked
-- and for the two levels of sharing, the queue among workspaces ('') and each workspace among its
-- tenants (':<ws>'):
--   ready<level>, idle<level>  ZSET  member -> virtual time: worker-seconds used, over its weight
--   floor<level>               virtual time of what was served last
--   cost                       a message's mean worker-seconds; cost:<ws> HASH tenant -> the same
--   weights                    HASH  workspace, or workspace SEP tenant -> share, 1 by default
-- `caps.lua`, `head.lua` and `mail.lua` say what else there is; `caps.lua` has a queue's `parked` and `aside` too. Several values in one are joined by SEP.
--
-- A place is the microsecond since which a message may run, less PRIORITY for each step of its
-- priority: a higher one runs first, and a double holds the result exactly.
-- Time is the server's own, so that no client's clock can be wrong.

local SEP = '\31'
local DAY = 86400                 -- seconds for which an unused lane's bookkeeping is kept
local PRIORITY = 1e14             -- microseconds, three years: more than anything ever waits
local HOUR = 3.6e9                -- microseconds

local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]   -- in microseconds

local SHARED = string.match(KEYS[1], '^(.-}):')
local HERE, PREFIX, QUEUE             -- the queue's name, its prefix, its sharing among workspaces
local MESSAGES, DELAYED, BEATS, TRIES, WAKE, SPARE

local function key(name)
  return PREFIX .. ':' .. name
end

local function level(suffix)
  return { ready = key('ready' .. suffix), idle = key('idle' .. suffix), floor = key('floor' .. suffix) }
end

-- Turn to a queue: what follows is about that one.
local function enter(queue)
  HERE, PREFIX = queue, SHARED .. ':' .. queue
  MESSAGES, DELAYED, BEATS, TRIES = key('messages'), key('delayed'), key('beats'), key('tries')
  WAKE, SPARE, QUEUE = key('wake'), key('spare'), level('')
end

enter(string.sub(KEYS[1], #SHARED + 2))

local function tenants_of(workspace)
  return level(':' .. workspace)
end

local function lane_name(workspace, tenant)
  return workspace .. SEP .. tenant
end

local function lane_key(workspace, tenant)
  return key('lane:' .. workspace .. SEP .. tenant)
end

-- A record's workspace, tenant, priority, connection and element; nil if we did not write it.
local function split(record)
  return string.match(record, '^([^\31]*)\31([^\31]*)\31(-?%d)\31([^\31]*)\31([^\31]*)\31')
end

local function place_of(since, priority)
  return since - priority * PRIORITY
end

local function since_of(place)
  return place + math.floor((now - place + HOUR) / PRIORITY) * PRIORITY
end

-- Counters in hashes, such as how many messages of a lane are held: read once by a script, and
-- written at its end by `write_counts`. What counts nothing is not there.

local counters = {}

local function counter(hash, field)
  local fields = counters[hash]
  if not fields then
    fields = {}
    counters[hash] = fields
  end
  local one = fields[field]
  if not one then
    one = { value = tonumber(call('HGET', hash, field) or 0) }
    fields[field] = one
  end
  return one
end

local function count(one, by)
  one.value, one.changed = math.max(0, one.value + by), true
end

local function write_counts()
  for hash, fields in pairs(counters) do
    for field, one in pairs(fields) do
      if one.changed then
        if one.value > 0 then call('HSET', hash, field, one.value) else call('HDEL', hash, field) end
        one.changed = false
      end
    end
  end
end

-- Fair shares: start-time fair queueing, once among workspaces and once among one's tenants.

local function weights(workspace, tenant)
  local found = call('HMGET', key('weights'), workspace, lane_name(workspace, tenant))
  return tonumber(found[1] or 1), tonumber(found[2] or 1)
end

-- A member that was idle comes back where it left, but no earlier than what is being served now:
-- idling saves up no claim, and leaving and coming back wipes out no debt.
local function activate(shares, member)
  if call('ZSCORE', shares.ready, member) then return end
  local left = tonumber(call('ZSCORE', shares.idle, member) or 0)
  local floor = tonumber(call('GET', shares.floor) or 0)
  call('ZREM', shares.idle, member)
  call('ZADD', shares.ready, math.max(left, floor), member)
end

local function rest(shares, member)
  local reached = call('ZSCORE', shares.ready, member)
  if not reached then return end
  call('ZREM', shares.ready, member)
  call('ZADD', shares.idle, reached, member)
  call('EXPIRE', shares.idle, DAY)
end

local function charge_member(shares, member, amount)
  if call('ZSCORE', shares.ready, member) then
    call('ZINCRBY', shares.ready, amount, member)
  else
    call('ZINCRBY', shares.idle, amount, member)
    call('EXPIRE', shares.idle, DAY)
  end
end

local function charge(workspace, tenant, seconds)
  local heavy, light = weights(workspace, tenant)
  charge_member(QUEUE, workspace, seconds / heavy)
  charge_member(tenants_of(workspace), tenant, seconds / light)
end

-- Lanes.

local function open_lane(workspace, tenant)
  activate(tenants_of(workspace), tenant)
  activate(QUEUE, workspace)
end

-- A lane has something to give if a message stands in it, or aside of it under a cap with room.
local function gives(workspace, tenant)
  return call('EXISTS', lane_key(workspace, tenant), key('aside:' .. lane_name(workspace, tenant))) > 0
end

-- Take a tenant, and a workspace that has no other, out of the choice; both keep their times.
local function rest_lane(workspace, tenant)
  local tenants = tenants_of(workspace)
  rest(tenants, tenant)
  if call('EXISTS', tenants.ready) == 0 then rest(QUEUE, workspace) end
end

local function close_lane_if_empty(workspace, tenant)
  if not gives(workspace, tenant) then rest_lane(workspace, tenant) end
end

local function put(id, workspace, tenant, place)
  call('ZADD', lane_key(workspace, tenant), place, id)
  open_lane(workspace, tenant)
end

local function delay(id, workspace, tenant, due)
  call('ZADD', DELAYED, due, id)
  count(counter(key('delayed:lanes'), lane_name(workspace, tenant)), 1)
end

-- Whether it was delayed.
local function undelay(id, workspace, tenant)
  if call('ZREM', DELAYED, id) == 0 then return false end
  if workspace then count(counter(key('delayed:lanes'), lane_name(workspace, tenant)), -1) end
  return true
end

local function next_due_ms()
  local first = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
  if not first[1] then return -1 end
  return math.max(0, math.ceil(first[2] - now / 1000))
end

-- One token is enough: while it lies there nobody is blocked, and whoever blocks next takes it,
-- fetches, and leaves another if there is more than it had room for.
local function leave_token(list)
  if call('EXISTS', list) == 0 then call('RPUSH', list, '1') end
end

local function wake_everybody()
  leave_token(WAKE)
  leave_token(SPARE)
end
