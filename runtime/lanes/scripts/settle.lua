-- How messages that a consumer held have ended.

local FIRST_BACKOFF, LONGEST_BACKOFF = 500, 60000   -- ms
local LEARNING = 8                                  -- a mean moves by 1/8 towards each message
local DEAD_LIMIT = 10000                            -- dead letters kept, the newest

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
  retry = function(id, detail, _, workspace, tenant)
    delay(id, workspace, tenant, now / 1000 + (tonumber(detail) or back_off(id)))
    return false
  end,
  back = function(id, _, place, workspace, tenant)
    put(id, workspace, tenant, place)
    wake_everybody()
    return false
  end,
  dead = function(id, reason)
    bury(id, reason)
    return true
  end,
}

-- Correct what was charged at the fetch by what was used, and learn what a message costs.
local function account(workspace, tenant, use)
  count_lane(workspace, tenant, -use.held)
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

-- Settle ARGV[first], ...: kind, id, seconds and detail of each message.
local function settle(consumer, first)
  local ids = {}
  for i = first, #ARGV, 4 do ids[#ids + 1] = ARGV[i + 1] end
  if #ids == 0 then return end
  local holds = call('HMGET', held_key(consumer), unpack(ids))
  call('HDEL', held_key(consumer), unpack(ids))
  local gone, uses, told = {}, {}, {}
  for n, id in ipairs(ids) do
    local at = first + 4 * (n - 1)
    local kind, seconds, detail = ARGV[at], tonumber(ARGV[at + 2]), ARGV[at + 3]
    if told[id] then
      -- said twice in one call: it counts once
    elseif holds[n] then
      local charged, place, workspace, tenant = read_hold(holds[n])
      if capping then count_hold(holds[n], -1) end
      if ENDINGS[kind](id, detail, place, workspace, tenant) then gone[#gone + 1] = id end
      local lane = lane_name(workspace, tenant)
      local use = uses[lane] or { workspace, tenant, seconds = 0, charged = 0, count = 0, held = 0 }
      uses[lane] = use
      use.seconds, use.charged = use.seconds + seconds, use.charged + charged
      use.held = use.held + 1
      if kind ~= 'back' then use.count = use.count + 1 end
    elseif kind == 'ack' then
      withdraw(id)   -- it was taken from a consumer thought dead, which finished it all the same
    end
    told[id] = true
  end
  if #gone > 0 then
    call('HDEL', MESSAGES, unpack(gone))
    call('HDEL', TRIES, unpack(gone))
  end
  for _, use in pairs(uses) do account(use[1], use[2], use) end
  reopen_freed()
end
