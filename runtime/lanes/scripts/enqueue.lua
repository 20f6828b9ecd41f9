-- Put messages into their lanes, or among the delayed ones. Safe to repeat: a known id is ignored.
-- ARGV: id, workspace, tenant, delay in ms, payload; and again for each message.
-- Returns how many were new.

local now = now_us()
local earliest = next_due_ms(now)
local added, opened, sooner = 0, {}, false

for i = 1, #ARGV, 5 do
  local id, workspace, tenant, delay = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local record = workspace .. SEP .. tenant .. SEP .. ARGV[i + 4]
  if call('HSETNX', MESSAGES, id, record) == 1 then
    added = added + 1
    if delay > 0 then
      call('ZADD', DELAYED, now / 1000 + delay, id)
      sooner = sooner or earliest < 0 or delay < earliest
    else
      call('ZADD', lane_key(workspace, tenant), now + added, id)
      opened[workspace .. SEP .. tenant] = { workspace, tenant }
    end
  end
end

for _, lane in pairs(opened) do
  open_lane(lane[1], lane[2])
end
-- A message that is due before all others shortens how long somebody has to sleep.
if next(opened) or sooner then wake() end
return added
