-- uses deliveries
-- Try a webhook again later, or never, also if it was disabled in the meantime. A session without a webhook was deleted.
keep_delivering(take(), take_number())
local id, now, retry_at, attempt, kept = take(), take(), take(), take(), take_number()
local key = P .. 'webhook:' .. id
if redis.call('EXISTS', key) == 0 then
  return 'unknown'
end
keep_attempt(id, attempt, kept)
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HSETNX', key, 'failing_since', now)
if retry_at == '' or redis.call('HEXISTS', key, 'try_at') == 0 then
  redis.call('HDEL', key, 'try_at')
  redis.call('ZREM', P .. 'webhooks', id)
else
  redis.call('HSET', key, 'try_at', retry_at)
  redis.call('ZADD', P .. 'webhooks', retry_at, id)
end
return 'done'
