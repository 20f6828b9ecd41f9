-- What caps hold back. Two rules keep everything moving: what a cap stopped is not looked at before
-- the number under it falls or the caps change; then all of it is looked at again, by fair share.

local function stopped_key(name)
  return STOPPED .. ':' .. name
end

local function parked_key(name, workspace, tenant)
  return key('parked:' .. name .. SEP .. lane_name(workspace, tenant))
end

local function stop(name, workspace, tenant)
  call('SADD', STOPPED, name)
  call('SADD', stopped_key(name), HERE .. SEP .. lane_name(workspace, tenant))
end

local function unstop(name, workspace, tenant)
  call('SREM', stopped_key(name), HERE .. SEP .. lane_name(workspace, tenant))
  if call('EXISTS', stopped_key(name)) == 0 then call('SREM', STOPPED, name) end
end

-- Set a message aside; its cap is full.
local function park(id, name, workspace, tenant, place)
  call('ZADD', parked_key(name, workspace, tenant), place, id)
  call('HSET', key('parked'), id, name)
  count(counter(key('parked:lanes'), lane_name(workspace, tenant)), 1)
  stop(name, workspace, tenant)
end

-- Let the first of what was set aside for a cap be looked at in its place in the lane.
local function show_first(name, workspace, tenant)
  local first = call('ZRANGE', parked_key(name, workspace, tenant), 0, 0, 'WITHSCORES')
  local aside = key('aside:' .. lane_name(workspace, tenant))
  if first[1] then call('ZADD', aside, first[2], name) else call('ZREM', aside, name) end
  if not first[1] then unstop(name, workspace, tenant) end
end

local function unpark(id, name, workspace, tenant)
  if call('ZREM', parked_key(name, workspace, tenant), id) == 0 then return false end
  call('HDEL', key('parked'), id)
  count(counter(key('parked:lanes'), lane_name(workspace, tenant)), -1)
  local shown = call('ZSCORE', key('aside:' .. lane_name(workspace, tenant)), name)
  if shown or call('EXISTS', parked_key(name, workspace, tenant)) == 0 then
    show_first(name, workspace, tenant)
  end
  return true
end

local function reopen_lane(name, workspace, tenant)
  local of_lane = string.match(name, '^workspace:') or string.match(name, '^tenant:')
  if of_lane then unstop(name, workspace, tenant) else show_first(name, workspace, tenant) end
  if tenant == '' and of_lane then
    if call('EXISTS', tenants_of(workspace).ready) == 1 then activate(QUEUE, workspace) end
  elseif gives(workspace, tenant) then
    open_lane(workspace, tenant)
  end
end

-- Look again at all that a cap stopped, in whichever queue.
local function reopen(name)
  local here = HERE
  for _, member in ipairs(call('SMEMBERS', stopped_key(name))) do
    local queue, workspace, tenant = string.match(member, '^([^\31]*)\31([^\31]*)\31(.*)$')
    enter(queue)
    reopen_lane(name, workspace, tenant)
    wake_everybody()
  end
  enter(here)
end

-- After holds ended: look again at what waited for that.
local function reopen_freed()
  for name, one in pairs(freed) do
    if not is_full(one) then reopen(name) end
  end
  freed = {}
end
