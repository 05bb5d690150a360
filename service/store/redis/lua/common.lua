-- Prepended to every script. All keys begin with KEYS[1], whose braces keep them in one slot of a cluster.
local P = KEYS[1] .. ':'
local GROUP, ORPHANS = 'workers', 'orphans'
local at = 0

local function take()
  at = at + 1
  return ARGV[at]
end

local function take_number()
  return tonumber(take())
end

local function session_key(id)
  return P .. 'session:' .. id
end

local function worker_key(id)
  return P .. 'worker:' .. id
end

local function queue_key(pace, model)
  return P .. 'queue:' .. pace .. ':' .. model
end

-- Seconds: the clock of a test, or Redis's own, which is the same for all clients.
local function take_now()
  local given = take()
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- A lease beyond lease_s was written before the clock was set back.
local function is_live(worker, now, lease_s)
  local lease_until = tonumber(redis.call('ZSCORE', P .. 'leases', worker) or nil)
  return lease_until ~= nil and lease_until > now and lease_until <= now + lease_s
end

local function live_workers(now, lease_s)
  return redis.call('ZRANGEBYSCORE', P .. 'leases', '(' .. now, now + lease_s)
end

-- A field of a session's hash, or nil. Names with an underscore are internal to the scripts.
local function field(id, name)
  return redis.call('HGET', session_key(id), name) or nil
end

local function set_state(id, state)
  local n, before = field(id, '_n'), field(id, '_state')
  if before then
    redis.call('ZREM', P .. 'sessions:state:' .. before, id)
    redis.call('HINCRBY', P .. 'states', before, -1)
  end
  redis.call('ZADD', P .. 'sessions:state:' .. state, n, id)
  redis.call('HINCRBY', P .. 'states', state, 1)
  redis.call('HSET', session_key(id), '_state', state)
end

-- Cursors are tenths of a millisecond since 1970, or one more than the last: when Redis goes back to older data after a
-- failover or from a backup, new events still have greater cursors than any that a follower has seen, so none is
-- missed. Version 0.1 would write numbers of more than 14 digits with an exponent.
local function next_cursor()
  local time = redis.call('TIME')
  local now = time[1] * 1e4 + math.floor(time[2] / 100)
  local cursor = string.format('%.0f', now)
  local last = tonumber(redis.call('SET', P .. 'cursor', cursor, 'GET') or 0)
  if last >= now then
    cursor = string.format('%.0f', last + 1)
    redis.call('SET', P .. 'cursor', cursor)
  end
  return cursor
end

-- Redis rejects an id that is not greater than the newest of the stream, so a replay adds nothing.
-- The second line of `json`, if any, holds the fields of the event that version 0.1 would reject. They come last:
-- it takes the first ones by their position.
local function append_event(id, owner, stream_id, event_id, json, events_max, log_max)
  local known, more = json, {}
  local line_end = string.find(json, '\n', 1, true)
  if line_end then
    known, more = string.sub(json, 1, line_end - 1), { 'since_0_2', string.sub(json, line_end + 1) }
  end
  local cursor = next_cursor()
  local key = P .. 'events:' .. id
  local added = redis.pcall('XADD', key, 'MAXLEN', events_max, stream_id, 'event', known, 'cursor', cursor,
    unpack(more))
  if type(added) == 'table' and added.err then
    if string.find(added.err, 'equal or smaller', 1, true) then
      return
    end
    error(added.err)
  end
  redis.call('XADD', P .. 'log', 'MAXLEN', '~', log_max, cursor .. '-0', 'event', known, 'owner', owner or '',
    unpack(more))
  redis.call('HSET', session_key(id), 'last_event_id', '"' .. event_id .. '"')
  local try_at = redis.call('HGET', P .. 'webhook:' .. id, 'try_at')
  if try_at then
    redis.call('ZADD', P .. 'webhooks', 'NX', try_at, id)
  end
end

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

-- An earlier run has written the result, perhaps without the confirmation of replicas. This run also writes, so that
-- it waits for them.
local function confirm_earlier_run()
  redis.call('SET', P .. 'confirmed', '')
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

-- Renew the lease of the server that delivers webhooks.
local function keep_delivering(deliverer, patience_s)
  if redis.call('GET', P .. 'deliverer') == deliverer then
    redis.call('PEXPIRE', P .. 'deliverer', patience_s * 1000)
  end
end

local function forget_worker(worker)
  orphan_sessions(worker)
  for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
    redis.call('XGROUP', 'DELCONSUMER', P .. 'queue:' .. queue, GROUP, worker)
  end
  redis.call('ZREM', P .. 'leases', worker)
  redis.call('DEL', worker_key(worker))
end

-- The newest attempts to deliver to a webhook, as JSON.
local function keep_attempt(id, attempt, kept)
  redis.call('LPUSH', P .. 'deliveries:' .. id, attempt)
  redis.call('LTRIM', P .. 'deliveries:' .. id, 0, kept - 1)
end
