-- The state of one queue, and the moves that every script builds on. Prepended to each of them.
--
-- KEYS[1] is the queue's prefix with its hash tag, `{vesicle:<queue>}`; every key hangs below it:
--   messages          HASH  id -> record, a record being workspace SEP tenant SEP payload
--   lane:<ws> SEP <t> ZSET  id -> since when it may run, in microseconds: the order inside a lane
--   delayed           ZSET  id -> when it becomes due, in milliseconds
--   held:<consumer>   HASH  id -> charge SEP place in lane SEP workspace SEP tenant
--   beats             ZSET  consumer -> last sign of life, in milliseconds
--   tries             HASH  id -> how often it met trouble and backed off
--   dead              ZSET  id -> when it was given up; dead:messages HASH id -> reason SEP record
--   wake              LIST  at most one token, on which idle consumers block
--   seen              the last beat of any consumer, in milliseconds
-- and for the two levels of sharing, the queue among workspaces ('') and each workspace among its
-- tenants (':<ws>'):
--   ready<level>, idle<level>  ZSET  member -> virtual time: worker-seconds used, over its weight
--   floor<level>               virtual time of what was served last
--   cost                       a message's mean worker-seconds; cost:<ws> HASH tenant -> the same
--   weights                    HASH  workspace, or workspace SEP tenant -> share, 1 by default
-- Time is the server's own, so that no client's clock can be wrong.

local SEP = '\31'
local DAY = 86400                 -- seconds for which an unused lane's bookkeeping is kept
local FIRST_COST = 0.01           -- seconds that a message is thought to take before any was seen
local LEAST_COST = 0.0001         -- seconds that every message costs at least
local DEAD_LIMIT = 10000          -- dead letters kept, the newest
local PROMOTE_LIMIT = 200         -- due messages moved to their lanes by one call

local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]   -- in microseconds

local function key(name)
  return KEYS[1] .. ':' .. name
end

local MESSAGES, DELAYED, BEATS = key('messages'), key('delayed'), key('beats')
local TRIES, WAKE = key('tries'), key('wake')

local function split(record)
  return string.match(record, '^([^\31]*)\31([^\31]*)\31')
end

local function lane_key(workspace, tenant)
  return key('lane:' .. workspace .. SEP .. tenant)
end

-- Fair shares: start-time fair queueing, once among workspaces and once among one's tenants.

local function level(suffix)
  return { ready = key('ready' .. suffix), idle = key('idle' .. suffix), floor = key('floor' .. suffix) }
end

local QUEUE = level('')

local function tenants_of(workspace)
  return level(':' .. workspace)
end

local function weights(workspace, tenant)
  local found = call('HMGET', key('weights'), workspace, workspace .. SEP .. tenant)
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

local function close_lane_if_empty(workspace, tenant)
  if call('EXISTS', lane_key(workspace, tenant)) == 1 then return end
  local tenants = tenants_of(workspace)
  rest(tenants, tenant)
  if call('EXISTS', tenants.ready) == 0 then rest(QUEUE, workspace) end
end

local function put(id, workspace, tenant, place)
  call('ZADD', lane_key(workspace, tenant), place, id)
  open_lane(workspace, tenant)
end

-- Take a message that nobody holds out of its lane or out of the delayed ones.
local function withdraw(id)
  local record = call('HGET', MESSAGES, id)
  if not record then return false end
  local workspace, tenant = split(record)
  local queued = workspace and call('ZREM', lane_key(workspace, tenant), id) == 1
  if queued then
    close_lane_if_empty(workspace, tenant)
  else
    queued = call('ZREM', DELAYED, id) == 1
  end
  if queued then
    call('HDEL', MESSAGES, id)
    call('HDEL', TRIES, id)
  end
  return queued
end

-- One token is enough: while it lies there nobody is blocked, and whoever blocks next takes it,
-- fetches, and leaves another if there is more than it had room for.
local function wake()
  if call('EXISTS', WAKE) == 0 then call('RPUSH', WAKE, '1') end
end

local function next_due_ms()
  local first = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
  if not first[1] then return -1 end
  return math.max(0, math.ceil(first[2] - now / 1000))
end

-- Holding.

local function held_key(consumer)
  return key('held:' .. consumer)
end

local function read_hold(hold)
  local cost, place, workspace, tenant = string.match(hold, '^([^\31]*)\31([^\31]*)\31([^\31]*)\31(.*)$')
  return tonumber(cost), place, workspace, tenant
end

-- Hand all that a consumer holds back to where it stood in its lanes, and forget the consumer.
local function release(consumer)
  local held = call('HGETALL', held_key(consumer))
  for i = 1, #held, 2 do
    local cost, place, workspace, tenant = read_hold(held[i + 1])
    put(held[i], workspace, tenant, place)
    charge(workspace, tenant, -cost)
  end
  call('DEL', held_key(consumer))
  call('ZREM', BEATS, consumer)
  if #held > 0 then wake() end
  return #held / 2
end
