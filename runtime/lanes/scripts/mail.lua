-- Mail: a message that is given to a consumer which waits for one, so that it need not ask.
--   waiting          ZSET  consumer -> since when it has room and finds nothing, in ms
--   mail:<consumer>  LIST  what it was given: id SEP record
-- It holds what is in its mail as it does what it has fetched: if it dies, others take that over.

local TRUST = 2500                -- ms after a consumer's last sign of life; it gives one each 1.7 s

local function mail_key(consumer)
  return key('mail:' .. consumer)
end

local function expect_mail(consumer)
  call('ZADD', key('waiting'), now / 1000, consumer)
end

local function refuse_mail(consumer)
  call('ZREM', key('waiting'), consumer)
end

-- The consumer that has begun to wait last, whose memory is the warmest; it waits no more.
local function next_waiting()
  while true do
    local last = call('ZPOPMAX', key('waiting'))
    if not last[1] then return nil end
    local seen = tonumber(call('ZSCORE', BEATS, last[1]) or 0)
    if now / 1000 - seen < TRUST then return last[1] end
  end
end
