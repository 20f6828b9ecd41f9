-- Messages that consumers hold, and messages that leave without being held.

local function held_key(consumer)
  return key('held:' .. consumer)
end

-- A hold's cost, place, workspace and tenant; it ends with what `subjects` finds in a record.
local function read_hold(hold)
  local cost, place, workspace, tenant = string.match(hold, '^([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)')
  return tonumber(cost), place, workspace, tenant
end

local function count_hold(hold, by)
  local _, _, workspace, tenant, connection, element =
    string.match(hold, '^([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31(.*)$')
  count_caps(workspace, tenant, connection, element, by)
end

-- Hand all that a consumer holds back to where it stood in its lanes, and forget the consumer.
local function release(consumer)
  local held = call('HGETALL', held_key(consumer))
  for i = 1, #held, 2 do
    local cost, place, workspace, tenant = read_hold(held[i + 1])
    put(held[i], workspace, tenant, place)
    charge(workspace, tenant, -cost)
    count_lane(workspace, tenant, -1)
    count_hold(held[i + 1], -1)
  end
  call('DEL', held_key(consumer), mail_key(consumer))
  refuse_mail(consumer)
  call('ZREM', BEATS, consumer)
  reopen_freed()
  if #held > 0 then wake_everybody() end
  return #held / 2
end

local function unqueue(id, workspace, tenant)
  if call('ZREM', lane_key(workspace, tenant), id) == 1 then return true end
  local name = call('HGET', key('parked'), id)
  return name and unpark(id, name, workspace, tenant)
end

-- Take a message that nobody holds out of its lane or out of the delayed ones.
local function withdraw(id)
  local record = call('HGET', MESSAGES, id)
  if not record then return false end
  local workspace, tenant = split(record)
  local gone = workspace and unqueue(id, workspace, tenant)
  if gone then
    close_lane_if_empty(workspace, tenant)
  else
    gone = undelay(id, workspace, tenant)
  end
  if gone then
    call('HDEL', MESSAGES, id)
    call('HDEL', TRIES, id)
    if workspace then ask_if_thirsty(workspace, tenant) end
  end
  return gone
end
