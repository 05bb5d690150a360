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
