-- uses leases
-- Ids of sessions that have begun and not ended, and that no live worker has.
local now, lease_s = take_now(), take_number()
local found = {}

local function add(ids)
  for _, id in ipairs(ids) do
    local state = field(id, '_state')
    if state and state ~= 'queued' and not field(id, '_ended') then
      table.insert(found, id)
    end
  end
end

add(redis.call('ZRANGE', P .. ORPHANS, 0, -1))
-- Of workers that died, but that no worker has claimed from yet.
for _, worker in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
  if not is_live(worker, now, lease_s) then
    add(redis.call('SMEMBERS', worker_key(worker) .. ':sessions'))
  end
end
return found
