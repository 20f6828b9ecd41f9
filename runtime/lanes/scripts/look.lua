-- Questions about what waits, which change nothing. ARGV: what, and its own arguments.

local LOOKED_AT = 1000            -- lanes compared for the longest ones

local function held_by(id)
  for _, consumer in ipairs(call('ZRANGE', BEATS, 0, -1)) do
    if call('HEXISTS', held_key(consumer), id) == 1 then return true end
  end
end

-- The cap that lets a message not begin: its workspace's, its tenant's or its own.
local function stopping(workspace, tenant, connection, element)
  for _, one in ipairs(caps_over(workspace, tenant, connection, element)) do
    if is_full(one) then return one end
  end
end

-- How many of a lane come before a message, those parked under the same cap included.
local function before(id, workspace, tenant)
  local lane = lane_key(workspace, tenant)
  local rank = call('ZRANK', lane, id)
  if rank then return rank end
  local name = call('HGET', key('parked'), id)
  local parked = name and parked_key(name, workspace, tenant)
  local place = name and call('ZSCORE', parked, id)
  if place then return call('ZRANK', parked, id) + call('ZCOUNT', lane, '-inf', '(' .. place) end
end

-- How many workspaces, and tenants of the same one, are served first.
local function lanes_before(workspace, tenant)
  local tenants = call('ZRANK', tenants_of(workspace).ready, tenant) or 0
  return tenants + (call('ZRANK', QUEUE.ready, workspace) or 0)
end

local function stopped_lanes(visit)
  for _, name in ipairs(call('SMEMBERS', STOPPED)) do
    if string.match(name, '^workspace:') or string.match(name, '^tenant:') then
      for _, member in ipairs(call('SMEMBERS', stopped_key(name))) do
        local queue, workspace, tenant = string.match(member, '^([^\31]*)\31([^\31]*)\31(.*)$')
        if queue == HERE and tenant ~= '' then visit(workspace, tenant) end
        if queue == HERE and tenant == '' then
          for _, one in ipairs(call('ZRANGE', tenants_of(workspace).ready, 0, -1)) do visit(workspace, one) end
        end
      end
    end
  end
end

-- How many messages are parked, or stand in lanes that a cap over them stopped.
local function capped()
  local sum, seen = call('HLEN', key('parked')), {}
  stopped_lanes(function(workspace, tenant)
    local lane = lane_key(workspace, tenant)
    if not seen[lane] then sum = sum + call('ZCARD', lane) end
    seen[lane] = true
  end)
  return sum
end

local function debt(workspace, tenant)
  local shares = tenants_of(workspace)
  local reached = call('ZSCORE', shares.ready, tenant) or call('ZSCORE', shares.idle, tenant)
  local floor = tonumber(call('GET', shares.floor) or 0)
  return math.max(0, tonumber(reached or floor) - floor)
end

-- All lanes that wait or hold something, as far as they can be looked at in one go.
local function lanes_at_work()
  local found, seen = {}, {}
  local function add(workspace, tenant)
    local name = lane_name(workspace, tenant)
    if #found < LOOKED_AT and not seen[name] then found[#found + 1] = { workspace, tenant } end
    seen[name] = true
  end
  for _, workspace in ipairs(call('ZRANGE', QUEUE.ready, 0, LOOKED_AT - 1)) do
    local tenants = call('ZRANGE', tenants_of(workspace).ready, 0, LOOKED_AT - 1)
    for _, tenant in ipairs(tenants) do add(workspace, tenant) end
  end
  stopped_lanes(add)
  for _, hash in ipairs({ HOLDING, key('deep'), key('parked:lanes') }) do
    for _, name in ipairs(call('HKEYS', hash)) do
      if name ~= '' then add(string.match(name, '^([^\31]*)\31(.*)$')) end
    end
  end
  return found
end

local ASKED = {
  -- workspace, tenant -> {in the lane, ms for which the first has waited or -1, parked, delayed, deep}
  lane = function(workspace, tenant)
    local lane = lane_key(workspace, tenant)
    local first = call('ZRANGE', lane, 0, 0, 'WITHSCORES')
    local waited = first[1] and math.max(0, math.floor((now - since_of(first[2])) / 1000)) or -1
    local name = lane_name(workspace, tenant)
    local delayed = tonumber(call('HGET', key('delayed:lanes'), name) or 0)
    local deep = call('HEXISTS', key('deep'), name)
    return { call('ZCARD', lane), waited, parked_in(workspace, tenant), delayed, deep }
  end,

  -- -> {all messages, delayed, held, dead, consumers, capped, deep lanes}
  depth = function()
    local held = 0
    local consumers = call('ZRANGE', BEATS, 0, -1)
    for _, consumer in ipairs(consumers) do held = held + call('HLEN', held_key(consumer)) end
    return {
      call('HLEN', MESSAGES), call('ZCARD', DELAYED), held, call('ZCARD', key('dead')), #consumers,
      capped(), call('HLEN', key('deep')),
    }
  end,

  -- id -> {state, position or -1, lanes ahead, cap, its limit, its number, ms until due or -1}
  locate = function(id)
    local record = call('HGET', MESSAGES, id)
    if not record then return { 'unknown', -1, 0, '', 0, 0, -1 } end
    local due = call('ZSCORE', DELAYED, id)
    if due then return { 'delayed', -1, 0, '', 0, 0, math.max(0, math.ceil(due - now / 1000)) } end
    local workspace, tenant, _, connection, element = split(record)
    local ahead = workspace and before(id, workspace, tenant)
    if not ahead then return { held_by(id) and 'held' or 'unknown', -1, 0, '', 0, 0, -1 } end
    local stopped = stopping(workspace, tenant, connection, element)
    if stopped then
      return { 'capped', ahead + 1, 0, stopped.name, stopped.limit, stopped.running.value, -1 }
    end
    return { 'queued', ahead + 1, lanes_before(workspace, tenant), '', 0, 0, -1 }
  end,

  -- how many -> {workspace, tenant, queued, held, debt in seconds, ...}, the longest lanes first
  top = function(limit)
    local lanes, reply = lanes_at_work(), {}
    for _, lane in ipairs(lanes) do
      local workspace, tenant = lane[1], lane[2]
      lane[3] = call('ZCARD', lane_key(workspace, tenant)) + parked_in(workspace, tenant)
      lane[4] = counter(HOLDING, lane_name(workspace, tenant)).value
      lane[5] = string.format('%.6f', debt(workspace, tenant))
    end
    table.sort(lanes, function(one, other) return one[3] + one[4] > other[3] + other[4] end)
    for i = 1, math.min(#lanes, tonumber(limit)) do
      for _, part in ipairs(lanes[i]) do reply[#reply + 1] = part end
    end
    return reply
  end,
}

return ASKED[ARGV[1]](unpack(ARGV, 2))
