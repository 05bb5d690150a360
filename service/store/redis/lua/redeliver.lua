-- Deliver the events after that one again; '' for all.
local id, after = take(), take()
local key = P .. 'webhook:' .. id
if redis.call('EXISTS', key) == 0 then
  return
end
if after == '' then
  redis.call('HDEL', key, 'delivered')
else
  redis.call('HSET', key, 'delivered', after)
end
redis.call('HDEL', key, 'failing_since')
redis.call('HSET', key, 'attempts', 0, 'try_at', 0)
redis.call('ZADD', P .. 'webhooks', 0, id)
