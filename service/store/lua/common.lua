-- Comes before every script. All keys begin with KEYS[1], whose braces keep them in one slot of a cluster.
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

-- Seconds; a test gives its own clock, else it is Redis's, the same for all.
local function take_now()
  local given = take()
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- A lease further ahead than one can be given was written before the clock was set back.
local function is_live(worker, now, lease_s)
  local lease_until = tonumber(redis.call('ZSCORE', P .. 'leases', worker) or nil)
  return lease_until ~= nil and lease_until > now and lease_until <= now + lease_s
end

local function live_workers(now, lease_s)
  return redis.call('ZRANGEBYSCORE', P .. 'leases', '(' .. now, now + lease_s)
end

-- Of a session's hash; nil if it is not there. Those with an underscore are the store's own.
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

-- Redis itself refuses an id that is not greater than the newest of the stream: a replay adds nothing.
local function append_event(id, stream_id, event_id, json, events_max, log_max)
  local cursor = redis.call('INCR', P .. 'cursor')
  local key = P .. 'events:' .. id
  local added = redis.pcall('XADD', key, 'MAXLEN', events_max, stream_id, 'event', json, 'cursor', cursor)
  if type(added) == 'table' and added.err then
    if string.find(added.err, 'equal or smaller', 1, true) then
      return
    end
    error(added.err)
  end
  local owner = field(id, '_owner')
  redis.call('XADD', P .. 'log', 'MAXLEN', '~', log_max, cursor .. '-0', 'event', json, 'owner', owner)
  redis.call('HSET', session_key(id), 'last_event_id', '"' .. event_id .. '"')
  local try_at = redis.call('HGET', P .. 'webhook:' .. id, 'try_at')
  if try_at then
    redis.call('ZADD', P .. 'webhooks', 'NX', try_at, id)
  end
end

local function leave_queue(id)
  local queue, entry = queue_key(field(id, '_pace'), field(id, '_model')), field(id, '_entry')
  redis.call('XACK', queue, GROUP, entry)
  redis.call('XDEL', queue, entry)
end

-- The session has ended: nothing is set aside for it any more.
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

-- The worker is gone: whoever has room may take its sessions. They stay pending in their queues.
local function orphan_sessions(worker)
  for _, id in ipairs(redis.call('SMEMBERS', worker_key(worker) .. ':sessions')) do
    local queue = queue_key(field(id, '_pace'), field(id, '_model'))
    redis.call('XCLAIM', queue, GROUP, ORPHANS, 0, field(id, '_entry'), 'JUSTID')
    redis.call('HSET', session_key(id), '_worker', '')
    redis.call('ZADD', P .. ORPHANS, field(id, '_n'), id)
  end
  redis.call('DEL', worker_key(worker) .. ':sessions')
end

-- Whoever delivers webhooks is heard of: nobody else takes over for a while.
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
