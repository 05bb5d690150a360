-- Replace the record of a key with the revoked one, free its name and delete its tickets.
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
