-- Cursors are tenths of a millisecond since 1970, or one more than the last: when Redis goes back to older data after a
-- failover or from a backup, new events still have greater cursors than any that a follower has seen, so none is
-- missed. They are kept as text, since reading and printing numbers of 14 digits takes longer than the rest.
local has_cursor = false
local function next_cursor()
  if has_cursor then
    return string.format('%d', redis.call('INCR', P .. 'cursor'))
  end
  has_cursor = true
  local time = redis.call('TIME')
  local cursor = string.format('%s%04d', time[1], time[2] / 100)
  local last = redis.call('SET', P .. 'cursor', cursor, 'GET')
  if last and (#last > #cursor or #last == #cursor and last >= cursor) then
    cursor = string.format('%d', last + 1)
    redis.call('SET', P .. 'cursor', cursor)
  end
  return cursor
end

-- Returns whether the event is new: Redis rejects an id that is not greater than the newest of the stream.
-- The second line of `json`, if any, holds the fields of the event that version 0.1 would reject. They come last:
-- it takes the first ones by their position.
local function append_event(id, owner, stream_id, json, events_max, log_max)
  local known, more = json, {}
  local line_end = string.find(json, '\n', 1, true)
  if line_end then
    known, more = string.sub(json, 1, line_end - 1), { 'since_0_2', string.sub(json, line_end + 1) }
  end
  local cursor = next_cursor()
  local key = P .. 'events:' .. id
  local added = redis.pcall('XADD', key, 'MAXLEN', events_max, stream_id, 'event', known, 'cursor', cursor,
    unpack(more))
  if type(added) == 'table' and added.err then
    if string.find(added.err, 'equal or smaller', 1, true) then
      return false
    end
    error(added.err)
  end
  redis.call('XADD', P .. 'log', 'MAXLEN', '~', log_max, cursor .. '-0', 'event', known, 'owner', owner or '',
    unpack(more))
  return true
end

-- The session has a new event for its webhook, unless that is disabled.
local function wake_webhook(id)
  local try_at = redis.call('HGET', P .. 'webhook:' .. id, 'try_at')
  if try_at then
    redis.call('ZADD', P .. 'webhooks', 'NX', try_at, id)
  end
end
