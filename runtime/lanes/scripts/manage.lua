-- Everything that is told seldom. ARGV: what, and its own arguments.

-- Count anew what is held, and look again at all that caps stopped.
local function recount()
  local here = HERE
  call('DEL', RUNNING, HOLDING)
  counters[RUNNING], counters[HOLDING], known_caps = nil, nil, {}
  for _, queue in ipairs(call('SMEMBERS', QUEUES)) do
    enter(queue)
    for _, consumer in ipairs(call('ZRANGE', BEATS, 0, -1)) do
      for _, hold in ipairs(call('HVALS', held_key(consumer))) do
        local _, _, workspace, tenant = read_hold(hold)
        count_lane(workspace, tenant, 1)
        count_hold(hold, 1)
      end
    end
  end
  enter(here)
  for _, name in ipairs(call('SMEMBERS', STOPPED)) do reopen(name) end
end

-- The room in a lane that asked for a refill, and how often it has spilled; nil if it needs none.
local function thirst_of(workspace, tenant)
  local deep = read_deep(workspace, tenant)
  local room = deep and deep.head - waiting_in(workspace, tenant) or 0
  if not deep or room <= deep.head / 2 then return nil end
  return room, deep.spills
end

local TOLD = {
  -- id: withdraw a message that nobody holds -> 1 if it was there
  remove = function(id) return withdraw(id) and 1 or 0 end,

  -- consumer: it leaves for good -> how many messages it handed back
  leave = function(consumer) return release(consumer) end,

  -- a consumer without room took the token: pass it on
  wake = function() leave_token(WAKE) end,

  -- workspace, tenant or '', weight: change a share
  weigh = function(workspace, tenant, weight)
    local member = tenant == '' and workspace or lane_name(workspace, tenant)
    call('HSET', key('weights'), member, weight)
  end,

  -- workspace, tenant, seconds: work was done beside that of a message
  charge = function(workspace, tenant, seconds) charge(workspace, tenant, tonumber(seconds)) end,

  -- version, name, limit, name, limit, ...: these are all caps from now on
  set_caps = function(version)
    call('DEL', CAPS)
    for i = 3, #ARGV, 2 do call('HSET', CAPS, ARGV[i], ARGV[i + 1]) end
    call('SET', CAPS .. ':version', version)
    capping = true
    recount()
  end,

  -- what was held has gone without a word
  recount = recount,

  -- -> the version of the caps that are in force
  cap_version = function() return call('GET', CAPS .. ':version') end,

  -- workspace, tenant, priority, head: a message was left in PostgreSQL
  spill = function(workspace, tenant, priority, head)
    local deep = deepen(read_deep(workspace, tenant), tonumber(priority), tonumber(head))
    write_deep(workspace, tenant, deep)
    ask_if_thirsty(workspace, tenant)
  end,

  -- how many -> {queue, workspace, tenant, room, spills, ...} of lanes of all queues
  thirsty = function(limit)
    local here, reply = HERE, {}
    local asking = call('ZRANGE', THIRSTY, '-inf', now / 1000, 'BYSCORE', 'LIMIT', 0, limit)
    for _, member in ipairs(asking) do
      local queue, workspace, tenant = string.match(member, '^([^\31]*)\31([^\31]*)\31(.*)$')
      enter(queue)
      local room, spills = thirst_of(workspace, tenant)
      if room then
        call('ZADD', THIRSTY, now / 1000 + REFILL_TIME, member)
        for _, one in ipairs({ queue, workspace, tenant, room, spills }) do reply[#reply + 1] = one end
      else
        call('ZREM', THIRSTY, member)
      end
    end
    enter(here)
    if call('ZCOUNT', THIRSTY, '-inf', now / 1000) > 0 then leave_token(THIRSTY_WAKE) end
    return reply
  end,

  -- workspace, tenant, spills or '': nothing is left in PostgreSQL -> 1 unless more was spilled since
  filled = function(workspace, tenant, spills)
    local deep = read_deep(workspace, tenant)
    if deep and spills ~= '' and deep.spills ~= tonumber(spills) then
      call('ZREM', THIRSTY, thirsty_name(workspace, tenant))
      ask_if_thirsty(workspace, tenant)
      return 0
    end
    call('HDEL', key('deep'), lane_name(workspace, tenant))
    call('ZREM', THIRSTY, thirsty_name(workspace, tenant))
    return 1
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

-- Lua cannot unpack some thousand caps; nothing else has more than a few arguments.
local answer = TOLD[ARGV[1]](unpack(ARGV, 2, math.min(#ARGV, 9)))
write_counts()
return answer
