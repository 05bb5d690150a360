-- uses leases events queues states
-- Queue a session. Returns {'made'}, {'earlier', id}, or the reason for the rejection.
local now, lease_s = take_now(), take_number()
local id, cost, pace, model, is_pinned = take(), take_number(), take(), take(), take()
local owner, upload_bytes, idempotency_key, digest = take(), take_number(), take(), take()
local max_queued, may_wait, max_sessions, max_stored = take_number(), take(), take(), take()
local webhook_url, webhook_secret = take(), take()
local event, events_max, log_max = take(), take(), take()

if idempotency_key ~= '' then
  local earlier = redis.call('HGET', P .. 'idempotency', idempotency_key)
  if earlier then
    confirm_earlier_run()
    return { field(earlier, '_digest') == digest and 'earlier' or 'conflict', earlier }
  end
end
if is_pinned ~= '' and redis.call('HEXISTS', P .. 'models', model) == 0 then
  return { 'no_model' }
end
if max_sessions ~= '' then
  local sessions = tonumber(redis.call('HGET', P .. 'usage:sessions', owner) or 0)
  local stored = tonumber(redis.call('HGET', P .. 'usage:bytes', owner) or 0)
  if sessions >= tonumber(max_sessions) then
    return { 'session_limit' }
  end
  if stored + upload_bytes > tonumber(max_stored) then
    return { 'storage_limit', tostring(stored) }
  end
end
local capacity, reserved = 0, tonumber(redis.call('GET', P .. 'reserved') or 0)
for _, worker in ipairs(live_workers(now, lease_s)) do
  capacity = capacity + (tonumber(redis.call('HGET', worker_key(worker), 'capacity') or nil) or 0)
end
if may_wait == '' and reserved + cost > capacity then
  return { 'over_capacity', tostring(capacity), tostring(reserved) }
end
local queued = tonumber(redis.call('HGET', P .. 'states', 'queued') or 0)
if queued >= max_queued then
  return { 'queue_full', tostring(queued) }
end

local n = redis.call('INCR', P .. 'n')
make_queue(pace, model)
local entry = redis.call('XADD', queue_key(pace, model), '*', 'session', id)
redis.call('HSET', session_key(id), '_n', n, '_cost', cost, '_pace', pace, '_model', model, '_owner', owner,
  '_bytes', upload_bytes, '_idempotency', idempotency_key, '_digest', digest, '_entry', entry, '_worker', '')
redis.call('HSET', session_key(id), unpack(ARGV, at + 1))
redis.call('ZADD', P .. 'sessions', n, id)
redis.call('INCRBY', P .. 'reserved', cost)
if owner ~= '' then
  redis.call('ZADD', P .. 'sessions:owner:' .. owner, n, id)
  redis.call('HINCRBY', P .. 'usage:sessions', owner, 1)
  redis.call('HINCRBY', P .. 'usage:bytes', owner, upload_bytes)
end
if idempotency_key ~= '' then
  redis.call('HSET', P .. 'idempotency', idempotency_key, id)
end
if webhook_url ~= '' then
  redis.call('HSET', P .. 'webhook:' .. id, 'url', webhook_url, 'secret', webhook_secret, 'try_at', 0, 'attempts', 0)
end
set_state(id, 'queued')
append_event(id, owner, '0-1', event, events_max, log_max)
if webhook_url ~= '' then
  wake_webhook(id)
end
return { 'made' }
