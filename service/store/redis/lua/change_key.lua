-- Replace the record of a key unless it is another than expected. Returns 'moved' or 'done'.
local id, expected, record = take(), take(), take()
if redis.call('HGET', P .. 'keys', id) ~= expected then
  return 'moved'
end
redis.call('HSET', P .. 'keys', id, record)
return 'done'
