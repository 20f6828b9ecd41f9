-- A consumer's one round trip: say how the messages it held ended, and take new ones.
-- ARGV: consumer, room, then kind, id, seconds, detail for each outcome.
-- Kinds: `ack` done; `retry` again after `detail` ms, or after a growing delay if that is empty;
-- `back` to its place in the lane; `dead` given up, `detail` saying why.
-- Returns {ms until the next delayed message is due or -1, id, record, id, record, ...}.

local consumer, room = ARGV[1], tonumber(ARGV[2])

local function promote()
  local due = call('ZRANGE', DELAYED, '-inf', now / 1000, 'BYSCORE', 'LIMIT', 0, PROMOTE_LIMIT, 'WITHSCORES')
  for i = 1, #due, 2 do
    call('ZREM', DELAYED, due[i])
    local record = call('HGET', MESSAGES, due[i])
    local workspace, tenant = split(record or '')
    if workspace then put(due[i], workspace, tenant, due[i + 1] * 1000) end
  end
end

settle(consumer, 3)
call('ZADD', BEATS, now / 1000, consumer)
if room <= 0 then return { -1 } end
promote()
local given = take(consumer, room)
-- More than there was room for: somebody else may have some.
if #given / 2 == room and call('EXISTS', QUEUE.ready) == 1 then wake() end
return { next_due_ms(), unpack(given) }
