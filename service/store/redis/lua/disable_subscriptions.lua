-- Deliver nothing more to the subscriptions of an API key.
for _, id in ipairs(redis.call('SMEMBERS', P .. 'subscriptions:key:' .. take())) do
  local key = P .. 'subscription:' .. id
  redis.call('HSET', key, 'state', 'disabled')
  redis.call('HINCRBY', key, 'revision', 1)
end
confirm_earlier_run()
return 'done'
