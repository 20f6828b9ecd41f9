-- Whose turn it is. The choice is made in memory and written back once for each lane.

local function expected_cost(workspace, tenant)
  local known = call('HGET', key('cost:' .. workspace), tenant) or call('GET', key('cost'))
  return math.max(LEAST_COST, tonumber(known or FIRST_COST))
end

-- The first members of a level in order of virtual time: to take `room` messages no more than
-- `room` members can be needed, because those that were not served yet stay in front.
local function roster(shares, room)
  local top = call('ZRANGE', shares.ready, 0, room - 1, 'WITHSCORES')
  local members = {}
  for i = 1, #top, 2 do
    members[#members + 1] = { name = top[i], time = tonumber(top[i + 1]), used = 0, floor = 0 }
  end
  return members
end

-- Charge the first member for a message and move it back to where its time puts it.
local function advance(members, step)
  local served = members[1]
  served.floor = served.time
  served.time, served.used = served.time + step, served.used + step
  local i = 1
  while members[i + 1] and members[i + 1].time <= served.time + 1e-9 do
    members[i] = members[i + 1]
    i = i + 1
  end
  members[i] = served
end

local function look_into_lane(workspace, tenant)
  tenant.workspace = workspace
  tenant.left = call('ZCARD', lane_key(workspace.name, tenant.name))
  tenant.cost = expected_cost(workspace.name, tenant.name)
  workspace.weight, tenant.weight = weights(workspace.name, tenant.name)
  tenant.taken = 0
end

-- Choose up to `room` messages: the tenants in the order in which they are served, one entry for
-- each message, and every workspace and tenant that was looked at.
local function choose(room)
  local workspaces, turns, seen = roster(QUEUE, room), {}, {}
  while #turns < room and workspaces[1] do
    local workspace = workspaces[1]
    if not workspace.tenants then
      workspace.tenants = roster(tenants_of(workspace.name), room)
      seen[#seen + 1] = workspace
      workspace.seen = {}
    end
    local tenant = workspace.tenants[1]
    if not tenant then
      table.remove(workspaces, 1)
    else
      if not tenant.left then
        look_into_lane(workspace, tenant)
        table.insert(workspace.seen, tenant)
      end
      if tenant.left == 0 then
        table.remove(workspace.tenants, 1)
      else
        tenant.left, tenant.taken = tenant.left - 1, tenant.taken + 1
        turns[#turns + 1] = tenant
        advance(workspaces, tenant.cost / workspace.weight)
        advance(workspace.tenants, tenant.cost / tenant.weight)
      end
    end
  end
  return turns, seen
end

local function write_back(shares, member)
  if member.used == 0 then return end
  call('SET', shares.floor, member.floor, 'EX', DAY)
  call('ZINCRBY', shares.ready, member.used, member.name)
end

-- Take from the lanes what was chosen.
local function collect(seen)
  for _, workspace in ipairs(seen) do
    write_back(QUEUE, workspace)
    for _, tenant in ipairs(workspace.seen) do
      write_back(tenants_of(workspace.name), tenant)
      tenant.popped = call('ZPOPMIN', lane_key(workspace.name, tenant.name), tenant.taken)
      tenant.next = 1
      if tenant.left == 0 then close_lane_if_empty(workspace.name, tenant.name) end
    end
    if not workspace.seen[1] then rest(QUEUE, workspace.name) end   -- keys deleted by hand
  end
end

-- Give up to `room` messages to a consumer; returns id, record, id, record, ...
local function take(consumer, room)
  local turns, seen = choose(room)
  collect(seen)
  if #turns == 0 then return {} end
  local ids, holds, given = {}, {}, {}
  for n, tenant in ipairs(turns) do
    local at = tenant.next
    tenant.next = at + 2
    ids[n] = tenant.popped[at]
    local place = string.format('%.0f', tenant.popped[at + 1])
    holds[n] = tenant.cost .. SEP .. place .. SEP .. tenant.workspace.name .. SEP .. tenant.name
  end
  local records, held = call('HMGET', MESSAGES, unpack(ids)), {}
  for n, id in ipairs(ids) do
    if records[n] then
      held[#held + 1], held[#held + 2] = id, holds[n]
      given[#given + 1], given[#given + 2] = id, records[n]
    end
  end
  if #held > 0 then call('HSET', held_key(consumer), unpack(held)) end
  return given
end
