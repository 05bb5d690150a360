-- Announce a worker. One that comes anew under an old name does not run what the old one ran.
local now, lease_s = take_now(), take_number()
local worker, capacity, names, info = take(), take(), take(), take()
orphan_sessions(worker)
redis.call('HSET', worker_key(worker), 'capacity', capacity, 'model_names', names, 'info', info)
redis.call('HDEL', worker_key(worker), 'claim_nonce', 'claim_session')
redis.call('ZADD', P .. 'leases', now + lease_s, worker)
return 'done'
