-- Add a subscription unless its key, or all together, have as many as they may. Returns 'full' or 'done'.
local id, key_id, record, progress = take(), take(), take(), take()
local max_of_key, max_in_all = take_number(), take_number()
local of_key = P .. 'subscriptions:key:' .. key_id
if redis.call('ZCARD', P .. 'subscriptions') >= max_in_all or redis.call('SCARD', of_key) >= max_of_key then
  return 'full'
end
redis.call('HSET', P .. 'subscription:' .. id, 'record', record, 'key', key_id, 'state', 'active', 'revision', 0,
  'progress', progress)
redis.call('SADD', of_key, id)
redis.call('ZADD', P .. 'subscriptions', redis.call('INCR', P .. 'subscriptions:count'), id)
return 'done'
