-- Sign with a new secret, and with the one before until a time.
local id, secret, old_until = take(), take(), take()
local key = P .. 'webhook:' .. id
if redis.call('EXISTS', key) == 1 then
  redis.call('HSET', key, 'old_secret', redis.call('HGET', key, 'secret'), 'old_secret_until', old_until, 'secret', secret)
end
