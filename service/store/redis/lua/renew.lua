-- uses leases
-- Renew a worker's leases. Returns {'lost'}, or {'kept', ids of sessions to stop, of sessions with watchers, and of
-- sessions with a change that the worker has not published, keys of the uploaded models, of the shadows among them}.
local now, lease_s, watched_s, worker = take_now(), take_number(), take_number(), take()
if not redis.call('ZSCORE', P .. 'leases', worker) then
  return { 'lost' }
end
redis.call('ZADD', P .. 'leases', now + lease_s, worker)
local watched = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'watched', '(' .. now, now + watched_s)) do
  if redis.call('SISMEMBER', worker_key(worker) .. ':sessions', id) == 1 then
    watched[#watched + 1] = id
  end
end
local changed = {}
for _, id in ipairs(redis.call('SMEMBERS', worker_key(worker) .. ':sessions')) do
  local revisions = redis.call('HMGET', session_key(id), 'revision', 'applied_revision')
  -- A revision that is no number belongs to another version.
  if (tonumber(revisions[1] or 0) or 0) > (tonumber(revisions[2] or 0) or 0) then
    changed[#changed + 1] = id
  end
end
local models, shadows = {}, {}
local stored = redis.call('HGETALL', P .. 'models')
for n = 1, #stored, 2 do
  models[#models + 1] = stored[n]
  -- A record that cannot be read belongs to a version that does not serve either.
  local is_read, record = pcall(cjson.decode, stored[n + 1])
  if is_read and type(record) == 'table' and record.is_shadow == true then
    shadows[#shadows + 1] = stored[n]
  end
end
return { 'kept', redis.call('SINTER', worker_key(worker) .. ':sessions', P .. 'stops'), watched, changed,
  models, shadows }
