-- Replace the record of a subscription, unless it was changed since a revision: then nothing is done, and 0 is returned.
local id, revision, record = take(), take(), take()
local key = P .. 'subscription:' .. id
if redis.call('HGET', key, 'revision') ~= revision then
  return 0
end
redis.call('HSET', key, 'record', record)
redis.call('HINCRBY', key, 'revision', 1)
return 1
