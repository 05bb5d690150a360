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

-- Remove an entry. A deletion at or after the group's position would leave it without a lag, by which KEDA scales: Redis
-- no longer counts. So tell Redis that nothing was deleted, and that an entry which no worker has read was never added.
local function drop_entry(pace, model, entry)
  local queue = queue_key(pace, model)
  local delivered = redis.call('HGET', P .. 'delivered', pace .. ':' .. model)
  redis.call('XACK', queue, GROUP, entry)
  if redis.call('XDEL', queue, entry) == 0 then
    return
  end
  local unread = is_after(entry, delivered or '0-0') and 1 or 0
  local info, stream = redis.call('XINFO', 'STREAM', queue), {}
  for n = 1, #info, 2 do
    stream[info[n]] = info[n + 1]
  end
  -- Redis ignores the id 0-0, so 0-1 stands for "nothing". The group must be past it.
  redis.call('XSETID', queue, stream['last-generated-id'], 'ENTRIESADDED', stream['entries-added'] - unread,
    'MAXDELETEDID', '0-1')
  if not delivered then
    redis.call('XGROUP', 'SETID', queue, GROUP, '0-2')
  end
end

local function leave_queue(id)
  drop_entry(field(id, '_pace'), field(id, '_model'), field(id, '_entry'))
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
