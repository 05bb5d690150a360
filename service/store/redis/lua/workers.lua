-- uses leases
-- The live workers as they registered, or only the worker of the given session.
local now, lease_s, session = take_now(), take_number(), take()
local found = {}
if session ~= '' then
  local worker = field(session, '_worker')
  if worker and worker ~= '' and is_live(worker, now, lease_s) then
    table.insert(found, redis.call('HGET', worker_key(worker), 'info'))
  end
  return found
end
for _, worker in ipairs(live_workers(now, lease_s)) do
  table.insert(found, redis.call('HGET', worker_key(worker), 'info'))
end
return found
