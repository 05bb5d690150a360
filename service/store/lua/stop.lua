-- Leave the stop to the live owner, or end the session here. Answers 'unknown', 'ended', 'asked', 'stopped', or
-- 'moved' when the session has gone on since its last event was read.
local now, lease_s = take_now(), take_number()
local id, last_event_id = take(), take()
local stream_id, event_id, event, events_max, log_max = take(), take(), take(), take(), take()
if redis.call('EXISTS', session_key(id)) == 0 then
  return 'unknown'
end
if field(id, '_ended') then
  return 'ended'
end
local worker = field(id, '_worker')
if worker ~= '' and is_live(worker, now, lease_s) then
  redis.call('SADD', P .. 'stops', id)
  return 'asked'
end
if field(id, 'last_event_id') ~= last_event_id then
  return 'moved'
end
redis.call('HINCRBY', session_key(id), 'token', 1)
while at < #ARGV do
  redis.call('HSET', session_key(id), take(), take())
end
set_state(id, 'stopped')
append_event(id, stream_id, event_id, event, events_max, log_max)
finish(id)
return 'stopped'
