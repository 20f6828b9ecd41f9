-- A lane's bounded head. PostgreSQL keeps what does not fit into it.
--   deep                    HASH  lane -> priority, head, spills: the highest priority that waits in
--                                 PostgreSQL, how many messages the lane may hold, and how often
--                                 something was spilled
--   {vesicle}:thirsty       ZSET  queue SEP lane -> from when it asks to be filled up, in ms
--   {vesicle}:thirsty:wake  LIST  at most one token, on which the refiller blocks

local THIRSTY, THIRSTY_WAKE = SHARED .. ':thirsty', SHARED .. ':thirsty:wake'
local REFILL_TIME = 5000          -- ms after which a lane that was not filled up asks again
local OVERFLOW = 200              -- beyond the head for what may overtake the backlog

local function read_deep(workspace, tenant)
  local deep = call('HGET', key('deep'), lane_name(workspace, tenant))
  if not deep then return nil end
  local priority, head, spills = string.match(deep, '^(-?%d+)\31(%d+)\31(%d+)$')
  return { priority = tonumber(priority), head = tonumber(head), spills = tonumber(spills) }
end

local function write_deep(workspace, tenant, deep)
  local text = string.format('%d\31%d\31%d', deep.priority, deep.head, deep.spills)
  call('HSET', key('deep'), lane_name(workspace, tenant), text)
end

local function deepen(deep, priority, head)
  if not deep then return { priority = priority, head = head, spills = 1 } end
  return { priority = math.max(deep.priority, priority), head = head, spills = deep.spills + 1 }
end

local function parked_in(workspace, tenant)
  return counter(key('parked:lanes'), lane_name(workspace, tenant)).value
end

-- How many messages a lane has that nobody holds.
local function waiting_in(workspace, tenant)
  local delayed = counter(key('delayed:lanes'), lane_name(workspace, tenant)).value
  return call('ZCARD', lane_key(workspace, tenant)) + parked_in(workspace, tenant) + delayed
end

local function thirsty_name(workspace, tenant)
  return HERE .. SEP .. lane_name(workspace, tenant)
end

-- Ask for a refill if the lane has more in PostgreSQL and less than half a head here.
local function ask_if_thirsty(workspace, tenant)
  local deep = read_deep(workspace, tenant)
  if not deep or waiting_in(workspace, tenant) >= deep.head / 2 then return end
  if call('ZADD', THIRSTY, 'NX', now / 1000, thirsty_name(workspace, tenant)) == 1 then
    leave_token(THIRSTY_WAKE)
  end
end
