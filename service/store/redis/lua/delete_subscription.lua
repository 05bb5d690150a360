-- Remove a subscription.
local id = take()
local key_id = redis.call('HGET', P .. 'subscription:' .. id, 'key')
if key_id then
  redis.call('SREM', P .. 'subscriptions:key:' .. key_id, id)
end
redis.call('ZREM', P .. 'subscriptions', id)
redis.call('DEL', P .. 'subscription:' .. id)
return 'done'
