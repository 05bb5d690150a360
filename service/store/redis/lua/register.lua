-- uses leases queues orphans
-- Announce a worker. Sessions of an earlier worker with the same name may be claimed.
local now, lease_s = take_now(), take_number()
local worker, capacity, names, info = take(), take(), take(), take()
orphan_sessions(worker)
redis.call('HSET', worker_key(worker), 'capacity', capacity, 'model_names', names, 'info', info)
redis.call('HDEL', worker_key(worker), 'claim_nonce', 'claim_session')
redis.call('ZADD', P .. 'leases', now + lease_s, worker)
-- The triggers that scale workers look at these streams before the first session.
for model in string.gmatch(names, '[^\n]+') do
  make_queue('realtime', model)
  make_queue('fast', model)
end
return 'done'
