-- Whose turn it is. The choice is made in memory and written back once for each lane.

local FIRST_COST = 0.01           -- seconds that a message is thought to take before any was seen
local LEAST_COST = 0.0001         -- seconds that every message costs at least
local LEAST_ROSTER = 16           -- members looked at for one that holds little

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

local function look_into_workspace(workspace, size)
  workspace.tenants = roster(tenants_of(workspace.name), size)
  workspace.deserted = not workspace.tenants[1]   -- keys deleted by hand
  workspace.cap = workspace_cap(workspace.name)
  workspace.seen = {}
end

local function look_into_lane(workspace, tenant)
  tenant.workspace = workspace
  tenant.cost = expected_cost(workspace.name, tenant.name)
  workspace.weight, tenant.weight = weights(workspace.name, tenant.name)
  tenant.taken, tenant.popped, tenant.next, tenant.begun = 0, {}, 1, 0
  tenant.lane = SEP .. lane_name(workspace.name, tenant.name) .. SEP
  if capping then
    tenant.cap = tenant_cap(workspace.name, tenant.name)
    tenant.has_aside = call('EXISTS', key('aside:' .. lane_name(workspace.name, tenant.name))) == 1
    tenant.ahead, tenant.out = { at = 1, from = 0, size = FIRST_LOOK }, {}
  else
    tenant.left = call('ZCARD', lane_key(workspace.name, tenant.name))
  end
  table.insert(workspace.seen, tenant)
end

-- Whether the lane gives one more; if it does not, it is out of this choice.
local function give_one(workspace, tenant)
  if not tenant.taken then look_into_lane(workspace, tenant) end
  tenant.stopped = is_full(tenant.cap)
  if tenant.stopped then return false end
  if capping then return draw(workspace.name, tenant) end
  if tenant.left == 0 then return false end
  tenant.left = tenant.left - 1
  return true
end

local function may_have(workspace, tenant, spare)
  return not spare or holds_little(workspace.name, tenant.name, tenant.taken or 0)
end

-- Choose up to `room` messages: the tenants in the order in which they are served, one entry for
-- each message, and every workspace and tenant that was looked at.
local function choose(room, spare)
  local size = spare and math.max(room, LEAST_ROSTER) or room
  local workspaces, turns, seen = roster(QUEUE, size), {}, {}
  while #turns < room and workspaces[1] do
    local workspace = workspaces[1]
    if not workspace.tenants then
      look_into_workspace(workspace, size)
      seen[#seen + 1] = workspace
    end
    local tenant = workspace.tenants[1]
    workspace.stopped = is_full(workspace.cap)
    if not tenant or workspace.stopped then
      table.remove(workspaces, 1)
    elseif may_have(workspace, tenant, spare) and give_one(workspace, tenant) then
      tenant.taken = tenant.taken + 1
      turns[#turns + 1] = tenant
      advance(workspaces, tenant.cost / workspace.weight)
      advance(workspace.tenants, tenant.cost / tenant.weight)
    else
      table.remove(workspace.tenants, 1)
    end
  end
  return turns, seen
end

local function write_back(shares, member)
  if member.used == 0 then return end
  call('SET', shares.floor, member.floor, 'EX', DAY)
  call('ZINCRBY', shares.ready, member.used, member.name)
end

-- Take out of a lane what was chosen; true if there is nothing more to choose in it.
local function collect_lane(workspace, tenant)
  write_back(tenants_of(workspace), tenant)
  if capping then
    take_out(workspace, tenant)
  elseif tenant.taken > 0 then
    tenant.popped = call('ZPOPMIN', lane_key(workspace, tenant.name), tenant.taken)
  end
  if tenant.stopped then
    stop(tenant.cap.name, workspace, tenant.name)
    rest_lane(workspace, tenant.name)
  elseif capping or tenant.left == 0 then   -- under caps what is left was not counted
    close_lane_if_empty(workspace, tenant.name)
  end
  ask_if_thirsty(workspace, tenant.name)
  return tenant.stopped or tenant.exhausted
end

-- Take from the lanes what was chosen; true if the choice was narrowed by caps.
local function collect(seen)
  local narrowed = false
  for _, workspace in ipairs(seen) do
    write_back(QUEUE, workspace)
    for _, tenant in ipairs(workspace.seen) do
      narrowed = collect_lane(workspace.name, tenant) or narrowed
    end
    if workspace.stopped then
      stop(workspace.cap.name, workspace.name, '')
      narrowed = true
    end
    if workspace.stopped or workspace.deserted then rest(QUEUE, workspace.name) end
  end
  return narrowed
end

-- Connection and element of a record, joined; `at` is where its lane's name ends.
local function subjects(record, at)
  return string.match(record, '^-?%d\31([^\31]*\31[^\31]*)\31', at) or SEP
end

-- Let a consumer hold what was chosen; append id and record of each to `given`.
local function hold(consumer, turns, given)
  local ids, places, held = {}, {}, {}
  for n, tenant in ipairs(turns) do
    ids[n], places[n] = tenant.popped[tenant.next], tenant.popped[tenant.next + 1]
    tenant.next = tenant.next + 2
  end
  local records = call('HMGET', MESSAGES, unpack(ids))
  for n, tenant in ipairs(turns) do
    if records[n] then
      local place, lane, at = string.format('%.0f', places[n]), tenant.lane, #held
      held[at + 1] = ids[n]
      held[at + 2] = tenant.cost .. SEP .. place .. lane .. subjects(records[n], #lane)
      given[#given + 1], given[#given + 2] = ids[n], records[n]
      tenant.begun = tenant.begun + 1
    end
  end
  for _, tenant in ipairs(turns) do
    if tenant.begun > 0 then count_lane(tenant.workspace.name, tenant.name, tenant.begun) end
    tenant.begun = 0
  end
  if #held > 0 then call('HSET', held_key(consumer), unpack(held)) end
end

local function serve(consumer, room, spare, given)
  local narrowed
  repeat
    local turns, seen = choose(room, spare)
    narrowed = collect(seen)
    if #turns > 0 then hold(consumer, turns, given) end
    room = room - #turns
  until room <= 0 or not narrowed or tired
end

-- Give a consumer up to `room` messages, and up to `spare` more of tenants that hold little.
-- Returns id, record, id, record, ...
local function take(consumer, room, spare)
  local given = {}
  if room > 0 then serve(consumer, room, false, given) end
  if spare > 0 and #given / 2 >= room then
    write_counts()   -- who holds how much is asked of the server now
    serve(consumer, spare, true, given)
  end
  if tired then leave_token(WAKE) end
  return given
end
