-- uses queues
-- Replace what a registered worker offers. Returns 'lost' if it was released, else 'done'.
local worker, capacity, names, info = take(), take(), take(), take()
if not redis.call('ZSCORE', P .. 'leases', worker) then
  return 'lost'
end
redis.call('HSET', worker_key(worker), 'capacity', capacity, 'model_names', names, 'info', info)
for model in string.gmatch(names, '[^\n]+') do
  make_queue('realtime', model)
  make_queue('fast', model)
end
return 'done'
