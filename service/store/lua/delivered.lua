-- The receiver has taken an event. A session without a webhook was deleted.
keep_delivering(take(), take_number())
local id, event_id, is_last = take(), take(), take()
local key = P .. 'webhook:' .. id
if redis.call('EXISTS', key) == 0 then
  return 'unknown'
end
redis.call('HSET', key, 'delivered', event_id, 'attempts', 0, 'try_at', 0)
redis.call('HDEL', key, 'failing_since')
if is_last == '1' then
  redis.call('HDEL', key, 'try_at')
end
if is_last == '1' or field(id, 'last_event_id') == '"' .. event_id .. '"' then
  redis.call('ZREM', P .. 'webhooks', id)
else
  redis.call('ZADD', P .. 'webhooks', 0, id)
end
return 'done'
