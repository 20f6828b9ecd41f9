-- A consumer's sign of life; also takes over from those that gave none for too long.
-- ARGV: consumer, timeout in ms.
-- Returns {1 if messages wait, ms until the next delayed one is due or -1, ids that it holds ...}.

local consumer, timeout = ARGV[1], tonumber(ARGV[2])
local now_ms = math.floor(now / 1000)

-- After a time in which nobody could beat (the server stood still, its clock jumped, no consumer
-- ran) silence proves nothing: everybody gets a full timeout again.
local seen = tonumber(call('GET', key('seen')) or now_ms)
call('SET', key('seen'), now_ms)
if math.abs(now_ms - seen) > timeout / 2 then
  for _, other in ipairs(call('ZRANGE', BEATS, 0, -1)) do call('ZADD', BEATS, now_ms, other) end
end

call('SADD', QUEUES, HERE)
call('ZADD', BEATS, now_ms, consumer)
for _, silent in ipairs(call('ZRANGE', BEATS, '-inf', now_ms - timeout, 'BYSCORE')) do
  release(silent)
end
write_counts()

local reply = { call('EXISTS', QUEUE.ready), next_due_ms() }
for _, id in ipairs(call('HKEYS', held_key(consumer))) do reply[#reply + 1] = id end
return reply
