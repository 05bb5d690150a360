-- Deliver nothing more of the sessions of an API key.
local owner = take()
for _, id in ipairs(redis.call('ZRANGE', P .. 'sessions:owner:' .. owner, 0, -1)) do
  redis.call('HDEL', P .. 'webhook:' .. id, 'try_at')
  redis.call('ZREM', P .. 'webhooks', id)
end
confirm_earlier_run()
return 'done'
