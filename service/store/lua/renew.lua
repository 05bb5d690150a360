-- Keep a worker alive. Answers {'lost'}, or {'kept', ids of its sessions that shall stop, ids of those looked at}.
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
return { 'kept', redis.call('SINTER', worker_key(worker) .. ':sessions', P .. 'stops'), watched }
