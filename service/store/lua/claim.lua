-- Own the next session that waits or has lost its worker: its id, or nil.
local now, lease_s = take_now(), take_number()
local worker, nonce, room, only_pace, may_reap = take(), take(), take_number(), take(), take()
local names = redis.call('HGET', worker_key(worker), 'model_names')
if not names then
  return nil
end

-- The answer to this very claim was lost on its way.
local claimed = redis.call('HMGET', worker_key(worker), 'claim_nonce', 'claim_session')
if claimed[1] == nonce and claimed[2] and redis.call('SISMEMBER', worker_key(worker) .. ':sessions', claimed[2]) == 1 then
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

local models = {}
for name in string.gmatch(names, '[^\n]+') do
  models[name] = true
end

local function fits(id)
  return models[field(id, '_model')] and tonumber(field(id, '_cost')) <= room
end

local function orphan_of(pace)
  for _, id in ipairs(redis.call('ZRANGE', P .. ORPHANS, 0, -1)) do
    if field(id, '_pace') == pace and fits(id) then
      return id
    end
  end
end

-- Of a queue's entries that no worker has had yet, the oldest, if it fits.
local function first_waiting(pace)
  local oldest, oldest_entry
  for model in pairs(models) do
    local delivered = redis.call('HGET', P .. 'delivered', pace .. ':' .. model) or '0-0'
    local entries = redis.call('XRANGE', queue_key(pace, model), '(' .. delivered, '+', 'COUNT', 1)
    if entries[1] then
      local entry, id = entries[1][1], entries[1][2][2]
      local n = tonumber(field(id, '_n'))
      if fits(id) and (not oldest or n < tonumber(field(oldest, '_n'))) then
        oldest, oldest_entry = id, entry
      end
    end
  end
  if oldest then
    local model = field(oldest, '_model')
    redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', queue_key(pace, model), '>')
    redis.call('HSET', P .. 'delivered', pace .. ':' .. model, oldest_entry)
  end
  return oldest
end

local function next_of(pace)
  if only_pace ~= '' and only_pace ~= pace then
    return nil
  end
  local orphan = orphan_of(pace)
  if orphan then
    redis.call('ZREM', P .. ORPHANS, orphan)
    redis.call('XCLAIM', queue_key(pace, field(orphan, '_model')), GROUP, worker, 0, field(orphan, '_entry'), 'JUSTID')
    return orphan
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
