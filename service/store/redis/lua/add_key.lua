-- Add a key unless an active key has its name. Returns 'taken' or 'done'.
local id, name, record = take(), take(), take()
if redis.call('HEXISTS', P .. 'keys:names', name) == 1 then
  return 'taken'
end
redis.call('HSET', P .. 'keys:names', name, id)
redis.call('HSET', P .. 'keys', id, record)
redis.call('RPUSH', P .. 'keys:order', id)
return 'done'
