-- The receiver has taken an event. A session without a webhook was deleted.
local deliverer, patience_s, id, event_id, is_last = take(), take_number(), take(), take(), take()
if redis.call('GET', P .. 'deliverer') == deliverer then
  redis.call('PEXPIRE', P .. 'deliverer', patience_s * 1000)
end
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
