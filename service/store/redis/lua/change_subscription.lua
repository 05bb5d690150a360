-- Change the state, and if given the progress, of a subscription; what its deliverer does at the same time is not noted.
local id, state, progress = take(), take(), take()
local key = P .. 'subscription:' .. id
if redis.call('EXISTS', key) == 1 then
  redis.call('HSET', key, 'state', state)
  if progress ~= '' then
    redis.call('HSET', key, 'progress', progress)
  end
  redis.call('HINCRBY', key, 'revision', 1)
end
return 'done'
