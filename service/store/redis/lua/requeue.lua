-- uses leases events states orphans
-- Make a session that no live worker has `queued`. Returns 'done', 'unknown', 'ended', 'owned', or 'moved' when a newer
-- event was committed since the caller read the session.
local now, lease_s = take_now(), take_number()
local id, last_event_id = take(), take()
local stream_id, event_id, event, events_max, log_max = take(), take(), take(), take(), take()
if redis.call('EXISTS', session_key(id)) == 0 then
  return 'unknown'
end
if field(id, '_ended') then
  return 'ended'
end
local worker = field(id, '_worker') or ''
if worker ~= '' and is_live(worker, now, lease_s) then
  return 'owned'
end
if field(id, 'last_event_id') ~= last_event_id then
  return 'moved'
end
if worker ~= '' then
  redis.call('SREM', worker_key(worker) .. ':sessions', id)
  orphan(id)
end
redis.call('HINCRBY', session_key(id), 'token', 1)
redis.call('HSET', session_key(id), unpack(ARGV, at + 1))
set_state(id, 'queued')
if append_event(id, field(id, '_owner'), stream_id, event, events_max, log_max) then
  redis.call('HSET', session_key(id), 'last_event_id', '"' .. event_id .. '"')
  wake_webhook(id)
end
return 'done'
