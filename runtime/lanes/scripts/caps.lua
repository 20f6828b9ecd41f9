-- Concurrency caps: how many messages may be held at once under a name, over all queues together.
--
-- Names are `<scope>:<id>`, a scope being workspace, tenant, connection, flow (flow runs over that
-- connection) or element, and `<scope>s@<ws>` for the default of a workspace's every one of these.
--   {vesicle}:caps            HASH  name -> limit; {vesicle}:caps:version says which caps they are
--   {vesicle}:running         HASH  name -> how many are held under it, for names that are capped
--   {vesicle}:holding         HASH  lane -> how many its tenant holds in all queues; '' -> all
--   {vesicle}:queues          SET   the queues there are
--   {vesicle}:stopped         SET   names of caps that hold something back
--   {vesicle}:stopped:<name>  SET   queue SEP lane; a whole workspace's lane has no tenant
-- and in each queue
--   parked            HASH  id -> name of the cap that holds it back
--   parked:<name> SEP <lane>  ZSET  id -> place: messages set aside so that others can go on
--   aside:<lane>      ZSET  name of a cap with room -> place of the first message set aside for it
-- The numbers follow from the holds: they change with them in one step, and `recount` makes them
-- anew.

local CAPS, RUNNING, STOPPED = SHARED .. ':caps', SHARED .. ':running', SHARED .. ':stopped'
local HOLDING, QUEUES = SHARED .. ':holding', SHARED .. ':queues'
local UNCAPPED = 2 ^ 31           -- a limit that lifts a default
local LITTLE = 0.5                -- of a fair part: a tenant that holds less may use spare slots

local capping = call('EXISTS', CAPS, STOPPED) > 0
local known_caps, freed = {}, {}

-- The cap over a name, with the number held under it; false if there is none.
local function cap(scope, id, workspace)
  local name = scope .. ':' .. id
  local known = known_caps[name]
  if known == nil then
    local found = call('HMGET', CAPS, name, scope .. 's@' .. workspace)
    local limit = tonumber(found[1] or found[2] or UNCAPPED)
    known = limit < UNCAPPED and { name = name, limit = limit, running = counter(RUNNING, name) }
    known_caps[name] = known
  end
  return known
end

local function is_full(one)
  return one and one.running.value >= one.limit
end

local function workspace_cap(workspace)
  return capping and cap('workspace', workspace, workspace)
end

local function tenant_cap(workspace, tenant)
  return capping and cap('tenant', workspace .. '/' .. tenant, workspace)
end

-- A flow run's connection is written `flow/<id>`: it is counted with what else runs over that
-- connection, and with the other flow runs over it.
local function connection_cap(workspace, connection)
  local id = string.gsub(connection, '^flow/', '')
  return capping and id ~= '' and cap('connection', id, workspace)
end

local function flow_cap(workspace, connection)
  local id = capping and string.match(connection, '^flow/(.*)$')
  return id and cap('flow', id, workspace)
end

local function element_cap(workspace, element)
  return capping and element ~= '' and cap('element', element, workspace)
end

local function caps_over(workspace, tenant, connection, element)
  return {
    workspace_cap(workspace), tenant_cap(workspace, tenant),
    connection_cap(workspace, connection), flow_cap(workspace, connection) or false,
    element_cap(workspace, element),
  }
end

-- The cap of a message's own, not of its lane, that lets no more begin.
local function own_stop(workspace, connection, element)
  local one = connection_cap(workspace, connection)
  if is_full(one) then return one end
  one = flow_cap(workspace, connection)
  if is_full(one) then return one end
  one = element_cap(workspace, element)
  return is_full(one) and one
end

-- Count messages of a lane that begin, or with a negative number cease, to be held.
local function count_lane(workspace, tenant, by)
  count(counter(HOLDING, lane_name(workspace, tenant)), by)
  count(counter(HOLDING, ''), by)
end

-- Count a message that begins (1) or ceases (-1) to be held under the caps over it.
local function count_caps(workspace, tenant, connection, element, by)
  if not capping then return end
  for _, one in ipairs(caps_over(workspace, tenant, connection, element)) do
    if one then
      count(one.running, by)
      if by < 0 then freed[one.name] = one end
    end
  end
end

-- Whether a tenant holds, with `more`, less than half of what would be its part of all that is held.
local function holds_little(workspace, tenant, more)
  local total = counter(HOLDING, '').value
  local held = counter(HOLDING, lane_name(workspace, tenant)).value
  local tenants = math.max(0, call('HLEN', HOLDING) - 1) + (held == 0 and 1 or 0)
  return total == 0 or (held + more) * tenants < total * LITTLE
end
