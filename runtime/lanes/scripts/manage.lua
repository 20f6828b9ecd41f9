-- Everything that is asked for seldom. ARGV: what, and its own arguments.

local ASKED = {
  -- id: withdraw a message that nobody holds -> 1 if it was there
  remove = function(id) return withdraw(id) and 1 or 0 end,

  -- consumer: it leaves for good -> how many messages it handed back
  leave = function(consumer) return release(consumer) end,

  -- a consumer without room took the token: pass it on
  wake = function() wake() end,

  -- workspace, tenant or '', weight: change a share
  weigh = function(workspace, tenant, weight)
    local member = tenant == '' and workspace or workspace .. SEP .. tenant
    call('HSET', key('weights'), member, weight)
  end,

  -- workspace, tenant -> {messages waiting in the lane, ms for which the first has waited or -1}
  lane = function(workspace, tenant)
    local lane = lane_key(workspace, tenant)
    local first = call('ZRANGE', lane, 0, 0, 'WITHSCORES')
    local waited = first[1] and math.max(0, math.floor((now - first[2]) / 1000)) or -1
    return { call('ZCARD', lane), waited }
  end,

  -- -> {all messages, delayed, held, dead, consumers}
  depth = function()
    local held = 0
    local consumers = call('ZRANGE', BEATS, 0, -1)
    for _, consumer in ipairs(consumers) do held = held + call('HLEN', held_key(consumer)) end
    return { call('HLEN', MESSAGES), call('ZCARD', DELAYED), held, call('ZCARD', key('dead')), #consumers }
  end,

  -- how many -> {id, when it was given up in ms, reason SEP record, ...}, the newest first
  dead = function(limit)
    local reply = {}
    local newest = call('ZRANGE', key('dead'), 0, tonumber(limit) - 1, 'REV', 'WITHSCORES')
    for i = 1, #newest, 2 do
      local letter = call('HGET', key('dead:messages'), newest[i]) or SEP
      for _, part in ipairs({ newest[i], newest[i + 1], letter }) do reply[#reply + 1] = part end
    end
    return reply
  end,
}

return ASKED[ARGV[1]](unpack(ARGV, 2))
