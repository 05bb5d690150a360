-- Those that have events to deliver and may be tried: one deliverer at a time is told. Answers {id, fields}, ...
local deliverer, patience_s, now, limit = take(), take_number(), take(), take()
local key = P .. 'deliverer'
if (redis.call('GET', key) or deliverer) ~= deliverer then
  return {}
end
redis.call('SET', key, deliverer, 'PX', patience_s * 1000)
local due = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'webhooks', '-inf', now, 'LIMIT', 0, limit)) do
  local fields = redis.call('HMGET', P .. 'webhook:' .. id, 'url', 'secret', 'delivered', 'attempts', 'failing_since')
  table.insert(due, { id, unpack(fields) })
end
return due
