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

-- A field of a session's hash, or nil. Names with an underscore are internal to the scripts.
local function field(id, name)
  return redis.call('HGET', session_key(id), name) or nil
end

-- An earlier run has written the result, perhaps without the confirmation of replicas. This run also writes, so that
-- it waits for them.
local function confirm_earlier_run()
  redis.call('SET', P .. 'confirmed', '')
end
