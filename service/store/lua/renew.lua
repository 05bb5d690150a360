-- Keep a worker alive. Answers {'lost'}, or {'kept', ids of its sessions that shall stop}.
local now, lease_s, worker = take_now(), take_number(), take()
if not redis.call('ZSCORE', P .. 'leases', worker) then
  return { 'lost' }
end
redis.call('ZADD', P .. 'leases', now + lease_s, worker)
return { 'kept', redis.call('SINTER', worker_key(worker) .. ':sessions', P .. 'stops') }
