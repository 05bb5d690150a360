-- uses orphans
-- Leave a session that this worker cannot read to other workers.
local worker, id = take(), take()
redis.call('SREM', worker_key(worker) .. ':sessions', id)
orphan(id)
return 'done'
