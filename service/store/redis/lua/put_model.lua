-- Keep a version of an uploaded model. Returns 'full' or 'done'.
local key, record, max_kept = take(), take(), take_number()
local others = redis.call('HLEN', P .. 'models') - redis.call('HEXISTS', P .. 'models', key)
if others >= max_kept then
  return 'full'
end
redis.call('HSET', P .. 'models', key, record)
return 'done'
