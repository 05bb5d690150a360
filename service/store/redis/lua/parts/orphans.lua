-- Any worker with capacity may claim the session. It stays pending in its queue.
local function orphan(id)
  local pace, model, entry, n = field(id, '_pace'), field(id, '_model'), field(id, '_entry'), field(id, '_n')
  if pace and model and entry and n then
    redis.call('XCLAIM', queue_key(pace, model), GROUP, ORPHANS, 0, entry, 'JUSTID')
    redis.call('HSET', session_key(id), '_worker', '')
    redis.call('ZADD', P .. ORPHANS, n, id)
  end
end

-- The worker no longer exists.
local function orphan_sessions(worker)
  for _, id in ipairs(redis.call('SMEMBERS', worker_key(worker) .. ':sessions')) do
    orphan(id)
  end
  redis.call('DEL', worker_key(worker) .. ':sessions')
end

local function forget_worker(worker)
  orphan_sessions(worker)
  for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
    redis.call('XGROUP', 'DELCONSUMER', P .. 'queue:' .. queue, GROUP, worker)
  end
  redis.call('ZREM', P .. 'leases', worker)
  redis.call('DEL', worker_key(worker))
end
