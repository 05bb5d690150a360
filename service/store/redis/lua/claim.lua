-- uses leases queues orphans
-- Claim the next session that is queued or whose worker has died. Returns its id or nil.
local now, lease_s = take_now(), take_number()
local worker, nonce, room, only_pace, may_reap = take(), take(), take_number(), take(), take()
local names = redis.call('HGET', worker_key(worker), 'model_names')
if not names then
  return nil
end

-- The reply to this claim was lost, and the worker repeats it.
local claimed = redis.call('HMGET', worker_key(worker), 'claim_nonce', 'claim_session')
if claimed[1] == nonce and claimed[2] and redis.call('SISMEMBER', worker_key(worker) .. ':sessions', claimed[2]) == 1 then
  confirm_earlier_run()
  return claimed[2]
end

if may_reap == '1' then
  local dead = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', now)
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '(' .. (now + lease_s), '+inf')) do
    table.insert(dead, one)
  end
  for _, one in ipairs(dead) do
    if one ~= worker then
      forget_worker(one)
    end
  end
end

local models, skipped = {}, {}
for name in string.gmatch(names, '[^\n]+') do
  models[name] = true
end
-- Sessions that this worker could not read.
while at < #ARGV do
  skipped[take()] = true
end

local function fits(id)
  local cost = tonumber(field(id, '_cost') or nil)
  return not skipped[id] and cost and cost <= room and models[field(id, '_model')]
end

local function orphan_of(pace)
  for _, id in ipairs(redis.call('ZRANGE', P .. ORPHANS, 0, -1)) do
    if field(id, '_pace') == pace and fits(id) and has_place(id) then
      return id
    end
  end
end

-- Read the oldest entry of a queue for `reader`: from now on it is pending.
local function deliver(pace, model, entry, reader)
  redis.call('XREADGROUP', 'GROUP', GROUP, reader, 'COUNT', 1, 'STREAMS', queue_key(pace, model), '>')
  redis.call('HSET', P .. 'delivered', pace .. ':' .. model, entry)
end

-- The oldest entry of a queue whose session waits, or nil. Entries of sessions that were stopped or deleted are dropped;
-- those of sessions that this worker cannot read are left to others. A session that moved here from the queue of another
-- model may be claimed or orphaned already.
local function front(pace, model)
  while true do
    local delivered = redis.call('HGET', P .. 'delivered', pace .. ':' .. model) or '0-0'
    local entries = redis.call('XRANGE', queue_key(pace, model), '(' .. delivered, '+', 'COUNT', 1)
    if not entries[1] then
      return nil
    end
    local entry, id = entries[1][1], entries[1][2][2]
    if skipped[id] then
      deliver(pace, model, entry, ORPHANS)
      orphan(id)
    elseif field(id, '_entry') == entry and tonumber(field(id, '_n') or nil) and not field(id, '_ended') then
      local owner = field(id, '_worker') or ''
      if owner ~= '' then
        deliver(pace, model, entry, owner)
      elseif redis.call('ZSCORE', P .. ORPHANS, id) then
        deliver(pace, model, entry, ORPHANS)
      else
        return entry, id
      end
    else
      deliver(pace, model, entry, ORPHANS)
      drop_entry(pace, model, entry)
    end
  end
end

-- The oldest session that waits, if it fits.
local function first_waiting(pace)
  local oldest, oldest_entry, oldest_n
  for model in pairs(models) do
    local entry, id = front(pace, model)
    local n = id and tonumber(field(id, '_n'))
    if id and fits(id) and (not oldest or n < oldest_n) then
      oldest, oldest_entry, oldest_n = id, entry, n
    end
  end
  if oldest then
    deliver(pace, field(oldest, '_model'), oldest_entry, worker)
  end
  return oldest
end

local function next_of(pace)
  if only_pace ~= '' and only_pace ~= pace then
    return nil
  end
  local id = orphan_of(pace)
  if id then
    redis.call('ZREM', P .. ORPHANS, id)
    redis.call('XCLAIM', queue_key(pace, field(id, '_model')), GROUP, worker, 0, field(id, '_entry'), 'JUSTID')
    return id
  end
  return first_waiting(pace)
end

local id = next_of('realtime') or next_of('fast')
if not id then
  return nil
end
redis.call('HINCRBY', session_key(id), 'token', 1)
redis.call('HSET', session_key(id), '_worker', worker)
redis.call('SADD', worker_key(worker) .. ':sessions', id)
redis.call('HSET', worker_key(worker), 'claim_nonce', nonce, 'claim_session', id)
return id
