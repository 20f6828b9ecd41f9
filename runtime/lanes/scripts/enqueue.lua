-- Put messages into their lanes, or among the delayed ones. Safe to repeat: a known id is ignored.
-- ARGV: a lane's head, 1 for a refill; then id, workspace, tenant, delay in ms, priority,
-- connection, element, payload for each message.
-- Returns {how many were new, ids for which there was no room ...}.

local head, refill = tonumber(ARGV[1]), ARGV[2] == '1'
local earliest = next_due_ms()
local reply, lanes = { 0 }, {}
local queued, sooner, light = false, false, false

local function open_book(workspace, tenant)
  local name = lane_name(workspace, tenant)
  local lane = lanes[name]
  if not lane then
    lane = { workspace = workspace, tenant = tenant }
    lane.waiting, lane.deep = waiting_in(workspace, tenant), read_deep(workspace, tenant)
    lanes[name] = lane
  end
  return lane
end

-- While messages wait in PostgreSQL nothing overtakes them but what has a higher priority.
local function has_room(lane, priority)
  if not lane.deep or refill then return lane.waiting < head end
  return priority > lane.deep.priority and lane.waiting < head + OVERFLOW
end

local function admit(lane, i, id, priority)
  local due = tonumber(ARGV[i + 3])
  reply[1], lane.waiting = reply[1] + 1, lane.waiting + 1
  if due > 0 then
    delay(id, lane.workspace, lane.tenant, now / 1000 + due)
    sooner = sooner or earliest < 0 or due < earliest
  else
    lane[#lane + 1], lane[#lane + 2] = place_of(now + reply[1], priority), id
  end
end

for i = 3, #ARGV, 8 do
  local id, priority = ARGV[i], tonumber(ARGV[i + 4])
  local lane = open_book(ARGV[i + 1], ARGV[i + 2])
  if has_room(lane, priority) then
    local record = ARGV[i + 1] .. SEP .. ARGV[i + 2] .. SEP .. ARGV[i + 4] .. SEP .. ARGV[i + 5] .. SEP
      .. ARGV[i + 6] .. SEP .. ARGV[i + 7]
    if call('HSETNX', MESSAGES, id, record) == 1 then admit(lane, i, id, priority) end
  elseif call('HEXISTS', MESSAGES, id) == 0 then
    lane.deep, lane.spilled = deepen(lane.deep, priority, head), true
    reply[#reply + 1] = id
  end
end

for name, lane in pairs(lanes) do
  if lane.spilled then write_deep(lane.workspace, lane.tenant, lane.deep) end
  if lane[1] then
    call('ZADD', key('lane:' .. name), unpack(lane))
    open_lane(lane.workspace, lane.tenant)
    queued = true
    light = light or holds_little(lane.workspace, lane.tenant, 0)
  end
  if refill then call('ZREM', THIRSTY, thirsty_name(lane.workspace, lane.tenant)) end
  if lane.deep then ask_if_thirsty(lane.workspace, lane.tenant) end
end
-- Give one message to a consumer that waits, and wake somebody for what is left.
local function hand_over()
  local consumer = next_waiting()
  local given = consumer and take(consumer, 1, 0)
  if given and given[1] then
    call('RPUSH', mail_key(consumer), given[1] .. SEP .. given[2])
  elseif given then
    expect_mail(consumer)   -- a cap held it back
  end
  return call('EXISTS', QUEUE.ready) == 1
end

local left = queued and hand_over()
write_counts()
-- A message that is due before all others shortens how long somebody has to sleep.
if left or sooner then leave_token(WAKE) end
if left and light or sooner then leave_token(SPARE) end
return reply
