-- A consumer's one round trip: say how the messages it held ended, and take new ones.
-- ARGV: consumer, room, then kind, id, seconds, detail for each outcome.
-- Kinds: `ack` done; `retry` again after `detail` ms, or after a growing delay if that is empty;
-- `back` to its place in the lane; `dead` given up, `detail` saying why.
-- Returns {ms until the next delayed message is due or -1, id, record, id, record, ...}.

local consumer, room = ARGV[1], tonumber(ARGV[2])
local HELD = held_key(consumer)
local FIRST_BACKOFF, LONGEST_BACKOFF = 500, 60000   -- ms
local LEARNING = 8                                  -- a mean moves by 1/8 towards each message

local now = now_us()

local function back_off(id)
  local times = call('HINCRBY', TRIES, id, 1)
  return math.min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ^ math.min(times - 1, 20))
end

local function bury(id, reason)
  local record = call('HGET', MESSAGES, id) or ''
  call('HSET', key('dead:messages'), id, reason .. SEP .. record)
  call('ZADD', key('dead'), now / 1000, id)
  local excess = call('ZCARD', key('dead')) - DEAD_LIMIT
  if excess > 0 then
    local oldest = call('ZPOPMIN', key('dead'), excess)
    for i = 1, #oldest, 2 do call('HDEL', key('dead:messages'), oldest[i]) end
  end
end

-- Each returns whether the message leaves the queue.
local ENDINGS = {
  ack = function() return true end,
  retry = function(id, detail)
    call('ZADD', DELAYED, now / 1000 + (tonumber(detail) or back_off(id)), id)
    return false
  end,
  back = function(id, _, place, workspace, tenant)
    put(id, workspace, tenant, place)
    wake()
    return false
  end,
  dead = function(id, reason)
    bury(id, reason)
    return true
  end,
}

-- Correct what was charged at the fetch by what was used, and learn what a message costs.
local function account(workspace, tenant, use)
  charge(workspace, tenant, use.seconds - use.charged)
  if use.count == 0 then return end
  local mean, share = use.seconds / use.count, math.min(1, use.count / LEARNING)
  local costs = key('cost:' .. workspace)
  local before = tonumber(call('HGET', costs, tenant) or mean)
  call('HSET', costs, tenant, before + (mean - before) * share)
  call('EXPIRE', costs, DAY)
  local overall = tonumber(call('GET', key('cost')) or mean)
  call('SET', key('cost'), overall + (mean - overall) * share)
end

local function settle()
  local ids = {}
  for i = 3, #ARGV, 4 do ids[#ids + 1] = ARGV[i + 1] end
  if #ids == 0 then return end
  local holds = call('HMGET', HELD, unpack(ids))
  call('HDEL', HELD, unpack(ids))
  local gone, uses = {}, {}
  for n, id in ipairs(ids) do
    local at = 4 * n - 1
    local kind, seconds, detail = ARGV[at], tonumber(ARGV[at + 2]), ARGV[at + 3]
    if holds[n] then
      local charged, place, workspace, tenant = read_hold(holds[n])
      if ENDINGS[kind](id, detail, place, workspace, tenant) then gone[#gone + 1] = id end
      local lane = workspace .. SEP .. tenant
      local use = uses[lane] or { workspace, tenant, seconds = 0, charged = 0, count = 0 }
      uses[lane] = use
      use.seconds, use.charged = use.seconds + seconds, use.charged + charged
      if kind ~= 'back' then use.count = use.count + 1 end
    elseif kind == 'ack' then
      withdraw(id)   -- it was taken from a consumer thought dead, which finished it all the same
    end
  end
  if #gone > 0 then
    call('HDEL', MESSAGES, unpack(gone))
    call('HDEL', TRIES, unpack(gone))
  end
  for _, use in pairs(uses) do account(use[1], use[2], use) end
end

local function promote()
  local due = call('ZRANGE', DELAYED, '-inf', now / 1000, 'BYSCORE', 'LIMIT', 0, PROMOTE_LIMIT, 'WITHSCORES')
  for i = 1, #due, 2 do
    call('ZREM', DELAYED, due[i])
    local record = call('HGET', MESSAGES, due[i])
    local workspace, tenant = split(record or '')
    if workspace then put(due[i], workspace, tenant, due[i + 1] * 1000) end
  end
end

local function expected_cost(workspace, tenant)
  local known = call('HGET', key('cost:' .. workspace), tenant) or call('GET', key('cost'))
  return math.max(LEAST_COST, tonumber(known or FIRST_COST))
end

local function first_two(shares)
  local top = call('ZRANGE', shares.ready, 0, 1, 'WITHSCORES')
  return top[1], tonumber(top[2]), tonumber(top[4])
end

-- How many messages in a row are a member's before its virtual time has passed its rival's.
local function turns(mine, rival, step)
  if not rival then return room end
  return math.max(1, math.ceil((rival - mine) / step - 1e-9))
end

local function serve(shares, member, reached, step, count)
  call('SET', shares.floor, reached + step * (count - 1), 'EX', DAY)
  call('ZINCRBY', shares.ready, step * count, member)
end

local function take(taken)
  local workspace, ws_time, ws_rival = first_two(QUEUE)
  if not workspace then return false end
  local tenants = tenants_of(workspace)
  local tenant, time, rival = first_two(tenants)
  if not tenant then
    rest(QUEUE, workspace)   -- only if somebody deleted keys by hand
    return true
  end
  local cost = expected_cost(workspace, tenant)
  local heavy, light = weights(workspace, tenant)
  local wanted = math.min(room, turns(ws_time, ws_rival, cost / heavy), turns(time, rival, cost / light))
  local popped = call('ZPOPMIN', lane_key(workspace, tenant), wanted)
  local count = #popped / 2
  if count > 0 then
    serve(QUEUE, workspace, ws_time, cost / heavy, count)
    serve(tenants, tenant, time, cost / light, count)
  end
  close_lane_if_empty(workspace, tenant)
  for i = 1, #popped, 2 do
    local hold = cost .. SEP .. string.format('%.0f', popped[i + 1]) .. SEP .. workspace .. SEP .. tenant
    taken[#taken + 1] = { popped[i], hold }
  end
  room = room - count
  return true
end

local function hand_over(taken, reply)
  local ids, holds = {}, {}
  for _, message in ipairs(taken) do ids[#ids + 1] = message[1] end
  local records = call('HMGET', MESSAGES, unpack(ids))
  for n, message in ipairs(taken) do
    if records[n] then
      holds[#holds + 1], holds[#holds + 2] = message[1], message[2]
      reply[#reply + 1], reply[#reply + 2] = message[1], records[n]
    end
  end
  if #holds > 0 then call('HSET', HELD, unpack(holds)) end
end

settle()
call('ZADD', BEATS, now / 1000, consumer)
if room <= 0 then return { -1 } end
promote()
local taken = {}
while room > 0 and take(taken) do end
local reply = { next_due_ms(now) }
if #taken > 0 then hand_over(taken, reply) end
if room <= 0 and call('EXISTS', QUEUE.ready) == 1 then wake() end
return reply
