-- Put messages into their lanes, or among the delayed ones. Safe to repeat: a known id is ignored.
-- ARGV: id, workspace, tenant, delay in ms, payload; and again for each message.
-- Returns how many were new.

local earliest = next_due_ms()
local added, lanes, sooner = 0, {}, false

local function lane_of(workspace, tenant)
  local name = lane_key(workspace, tenant)
  if not lanes[name] then lanes[name] = { workspace = workspace, tenant = tenant } end
  return lanes[name]
end

for i = 1, #ARGV, 5 do
  local id, workspace, tenant, delay = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local record = workspace .. SEP .. tenant .. SEP .. ARGV[i + 4]
  if call('HSETNX', MESSAGES, id, record) == 1 then
    added = added + 1
    if delay > 0 then
      call('ZADD', DELAYED, now / 1000 + delay, id)
      sooner = sooner or earliest < 0 or delay < earliest
    else
      local lane = lane_of(workspace, tenant)
      lane[#lane + 1], lane[#lane + 2] = now + added, id
    end
  end
end

for name, lane in pairs(lanes) do
  call('ZADD', name, unpack(lane))
  open_lane(lane.workspace, lane.tenant)
end
-- A message that is due before all others shortens how long somebody has to sleep.
if next(lanes) or sooner then wake() end
return added
