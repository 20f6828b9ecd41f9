-- The next message of a lane, past those that caps hold back: these are set aside on the way.

local LOOK_LIMIT = 500            -- messages set aside by one call; the next one goes on
local FIRST_LOOK, LONGEST_LOOK = 4, 128   -- messages read ahead from a lane
local looks, tired = 0, false

-- The first message that stands in the lane itself, which stays there until `take_out`.
local function peek(workspace, tenant)
  local ahead = tenant.ahead
  if ahead.at > #ahead then
    local found = call('ZRANGE', lane_key(workspace, tenant.name), ahead.from, ahead.from + ahead.size - 1, 'WITHSCORES')
    if not found[1] then return nil end
    local ids = {}
    for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
    local records = call('HMGET', MESSAGES, unpack(ids))
    local from = ahead.from + #ids
    ahead = { at = 1, from = from, size = math.min(LONGEST_LOOK, ahead.size * 2) }
    for n, id in ipairs(ids) do
      ahead[n] = { id = id, place = tonumber(found[2 * n]), record = records[n] }
    end
    tenant.ahead = ahead
  end
  return ahead[ahead.at]
end

-- A message that may begin, else nil: without a record it is dropped, under a full cap set aside.
local function try(workspace, tenant, message)
  if not message.record then return nil end
  local _, _, _, connection, element = split(message.record)
  local stopped = own_stop(workspace, connection or '', element or '')
  if stopped then
    park(message.id, stopped.name, workspace, tenant.name, string.format('%.0f', message.place))
    return nil
  end
  count_caps(workspace, tenant.name, connection or '', element or '', 1)
  return message
end

-- The first message that was set aside for a cap, if that has room.
local function try_aside(workspace, tenant, name)
  local scope, id = string.match(name, '^(%a+):(.*)$')
  if is_full(cap(scope, id, workspace)) then
    call('ZREM', key('aside:' .. lane_name(workspace, tenant.name)), name)
    return nil
  end
  local first = call('ZRANGE', parked_key(name, workspace, tenant.name), 0, 0, 'WITHSCORES')
  if not first[1] then
    show_first(name, workspace, tenant.name)
    return nil
  end
  unpark(first[1], name, workspace, tenant.name)
  local record = call('HGET', MESSAGES, first[1])
  return try(workspace, tenant, { id = first[1], place = tonumber(first[2]), record = record })
end

local function aside(workspace, tenant)
  if not tenant.has_aside then return nil end
  local first = call('ZRANGE', key('aside:' .. lane_name(workspace, tenant.name)), 0, 0, 'WITHSCORES')
  return first[1], tonumber(first[2])
end

-- Take a lane's next message into `tenant.popped`; false if it has none that may begin.
local function draw(workspace, tenant)
  while looks < LOOK_LIMIT do
    local own, found = peek(workspace, tenant), nil
    local name, place = aside(workspace, tenant)
    if name and (not own or place <= own.place) then
      found = try_aside(workspace, tenant, name)
    elseif own then
      tenant.ahead.at = tenant.ahead.at + 1
      tenant.out[#tenant.out + 1] = own.id
      found = try(workspace, tenant, own)
    else
      tenant.exhausted = true
      return false
    end
    if found then
      local popped = tenant.popped
      popped[#popped + 1], popped[#popped + 2] = found.id, found.place
      return true
    end
    looks = looks + 1
  end
  tired = true
  return false
end

local function take_out(workspace, tenant)
  if tenant.out[1] then call('ZREM', lane_key(workspace, tenant.name), unpack(tenant.out)) end
end
