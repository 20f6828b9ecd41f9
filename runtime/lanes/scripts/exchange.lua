-- A consumer's one round trip: say how the messages it held ended, and take new ones.
-- ARGV: consumer, room, spare room for tenants that hold little, 1 if it reads its mail, then kind,
-- id, seconds, detail for each outcome.
-- Kinds: `ack` done; `retry` again after `detail` ms, or after a growing delay if that is empty;
-- `back` to its place in the lane; `dead` given up, `detail` saying why.
-- Returns {ms until the next delayed message is due or -1, id, record, id, record, ...}.

local PROMOTE_LIMIT = 200         -- due messages moved to their lanes by one call
local consumer, room, spare = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local reads_mail = ARGV[4] == '1'

local function promote()
  local due = call('ZRANGE', DELAYED, '-inf', now / 1000, 'BYSCORE', 'LIMIT', 0, PROMOTE_LIMIT, 'WITHSCORES')
  for i = 1, #due, 2 do
    local record = call('HGET', MESSAGES, due[i])
    local workspace, tenant, priority = split(record or '')
    undelay(due[i], workspace, tenant)
    if workspace then put(due[i], workspace, tenant, place_of(due[i + 1] * 1000, priority)) end
  end
end

settle(consumer, 5)
if call('ZADD', BEATS, now / 1000, consumer) == 1 then call('SADD', QUEUES, HERE) end
if reads_mail and room <= 0 then refuse_mail(consumer) end
if room + spare <= 0 then
  write_counts()
  return { -1 }
end
promote()
local given = take(consumer, room, spare)
write_counts()
-- More than there was room for: somebody else may have some.
local taken, more = #given / 2, call('EXISTS', QUEUE.ready) == 1
if reads_mail and room > 0 then
  if taken < room then expect_mail(consumer) else refuse_mail(consumer) end
end
if more and room > 0 and taken >= room then leave_token(WAKE) end
if more and spare > 0 and taken >= room + spare then leave_token(SPARE) end
return { next_due_ms(), unpack(given) }
