-- Numbers of a stream id.
local function split_id(stream_id)
  local ms, seq = string.match(stream_id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function is_after(stream_id, other)
  local ms, seq = split_id(stream_id)
  local other_ms, other_seq = split_id(other)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end

-- Remove an entry that was delivered. The newest one stays until the next is delivered, or it is the only one: deleting
-- it would leave the group without a lag, by which KEDA scales.
local function drop_entry(pace, model, entry)
  local queue, name = queue_key(pace, model), pace .. ':' .. model
  redis.call('XACK', queue, GROUP, entry)
  if redis.call('HGET', P .. 'delivered', name) == entry then
    redis.call('HSET', P .. 'dropped', name, entry)
  else
    redis.call('XDEL', queue, entry)
  end
  local newest = redis.call('HGET', P .. 'dropped', name)
  if newest and redis.call('XLEN', queue) == 1 then
    redis.call('XDEL', queue, newest)
    redis.call('HDEL', P .. 'dropped', name)
  end
end

-- An entry that no worker has read stays, for the same reason. The claim that reaches it drops it.
local function leave_queue(id)
  local pace, model, entry = field(id, '_pace'), field(id, '_model'), field(id, '_entry')
  local delivered = redis.call('HGET', P .. 'delivered', pace .. ':' .. model) or '0-0'
  if not is_after(entry, delivered) then
    drop_entry(pace, model, entry)
  end
end

local function make_queue(pace, model)
  if redis.call('SADD', P .. 'queues', pace .. ':' .. model) == 1 then
    redis.call('XGROUP', 'CREATE', queue_key(pace, model), GROUP, '0', 'MKSTREAM')
  end
end

-- The session has ended: release its reservation and its place in the queue.
local function finish(id)
  leave_queue(id)
  redis.call('DECRBY', P .. 'reserved', field(id, '_cost'))
  local owner = field(id, '_owner')
  if owner ~= '' then
    redis.call('HINCRBY', P .. 'usage:sessions', owner, -1)
  end
  local worker = field(id, '_worker')
  if worker ~= '' then
    redis.call('SREM', worker_key(worker) .. ':sessions', id)
  end
  redis.call('ZREM', P .. ORPHANS, id)
  redis.call('SREM', P .. 'stops', id)
  redis.call('DEL', P .. 'checkpoint:' .. id)
  redis.call('HSET', session_key(id), '_ended', '1', '_worker', '')
  redis.call('ZADD', P .. 'ended', redis.call('TIME')[1], id)
end
