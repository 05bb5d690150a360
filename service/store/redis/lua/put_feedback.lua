-- Keep feedback of a session. Returns 'unknown', 'full' or 'done'.
local id, feedback_id, record, max_kept = take(), take(), take(), take_number()
local key = P .. 'feedback:' .. id
if redis.call('EXISTS', session_key(id)) == 0 then
  return 'unknown'
end
if redis.call('HLEN', key) >= max_kept and redis.call('HEXISTS', key, feedback_id) == 0 then
  return 'full'
end
redis.call('HSET', key, feedback_id, record)
return 'done'
