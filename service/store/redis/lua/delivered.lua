-- uses deliveries
-- The receiver has accepted an event. Returns 'moved' if delivery was set back or disabled in the meantime.
keep_delivering(take(), take_number())
local id, event_id, after, is_last = take(), take(), take(), take()
local attempt, kept = take(), take_number()
local key = P .. 'webhook:' .. id
if redis.call('EXISTS', key) == 0 then
  return 'unknown'
end
if (redis.call('HGET', key, 'delivered') or '') ~= after or redis.call('HEXISTS', key, 'try_at') == 0 then
  return 'moved'
end
redis.call('HSET', key, 'delivered', event_id, 'attempts', 0, 'try_at', 0)
redis.call('HDEL', key, 'failing_since')
keep_attempt(id, attempt, kept)
if is_last == '1' then
  redis.call('HDEL', key, 'try_at')
end
if is_last == '1' or field(id, 'last_event_id') == '"' .. event_id .. '"' then
  redis.call('ZREM', P .. 'webhooks', id)
else
  redis.call('ZADD', P .. 'webhooks', 0, id)
end
return 'done'
