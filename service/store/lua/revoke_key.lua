-- Replace the record of a key by the revoked one; its name is free, its tickets are gone.
local id, name, record = take(), take(), take()
redis.call('HSET', P .. 'keys', id, record)
if redis.call('HGET', P .. 'keys:names', name) == id then
  redis.call('HDEL', P .. 'keys:names', name)
end
for _, digest in ipairs(redis.call('SMEMBERS', P .. 'tickets:' .. id)) do
  redis.call('DEL', P .. 'ticket:' .. digest)
end
redis.call('DEL', P .. 'tickets:' .. id)
return 'done'
