-- Whether the session has a place in a queue. Fields that are not of this version would end the script, and so keep
-- every other session from being claimed.
local function has_place(id)
  local pace, model = field(id, '_pace') or '', field(id, '_model') or ''
  return string.match(field(id, '_entry') or '', '^%d+%-%d+$') and string.match(field(id, '_n') or '', '^%d+$')
    and redis.call('SISMEMBER', P .. 'queues', pace .. ':' .. model) == 1
end

-- Any worker with capacity may claim the session. It stays pending in its queue.
local function orphan(id)
  if has_place(id) then
    local queue = queue_key(field(id, '_pace'), field(id, '_model'))
    redis.call('XCLAIM', queue, GROUP, ORPHANS, 0, field(id, '_entry'), 'JUSTID')
    redis.call('HSET', session_key(id), '_worker', '')
    redis.call('ZADD', P .. ORPHANS, field(id, '_n'), id)
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
