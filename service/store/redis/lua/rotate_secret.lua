-- Sign with a new secret, and with the one before until a time. A repeated rotation keeps the one before.
local id, secret, old_until = take(), take(), take()
local key = P .. 'webhook:' .. id
local current = redis.call('HGET', key, 'secret')
if current == secret then
  redis.call('HSET', key, 'old_secret_until', old_until)
elseif current then
  redis.call('HSET', key, 'old_secret', current, 'old_secret_until', old_until, 'secret', secret)
end
return 'done'
