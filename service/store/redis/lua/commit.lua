-- Commit a worker's events, scores, update and resume point atomically. Returns 'done', 'unknown' or 'lost'.
local id, token, ends_as = take(), take(), take()
local events_max, events_min, log_max = take(), take(), take()
if redis.call('EXISTS', session_key(id)) == 0 then
  return 'unknown'
end
-- The reply to the commit that ended the session was lost, or no replica confirmed it: the worker repeats it.
if field(id, '_ended') and ends_as ~= '' and field(id, '_state') == ends_as and field(id, 'token') == token then
  confirm_earlier_run()
  return 'done'
end
if field(id, '_ended') or field(id, '_worker') == '' or field(id, 'token') ~= token then
  return 'lost'
end
for _ = 1, take_number() do
  append_event(id, take(), take(), take(), events_max, log_max)
end
if events_min ~= '' then
  redis.call('XTRIM', P .. 'events:' .. id, 'MINID', events_min)
end
for _ = 1, take_number() do
  local name, value = take(), take()
  redis.call('HSET', session_key(id), name, value)
  if name == 'state' then
    set_state(id, string.sub(value, 2, -2))
  end
end
local scores = P .. 'scores:' .. id
local scores_min = take()
for _ = 1, take_number() do
  -- As with events, Redis rejects replays.
  redis.pcall('XADD', scores, take(), 's', take())
end
if scores_min ~= '' then
  redis.call('XTRIM', scores, 'MINID', scores_min)
end
if take_number() == 1 then
  local key = P .. 'checkpoint:' .. id
  redis.call('HSET', key, 'position_s', take(), 'starts', take(), 'frames', take())
  if take_number() == 1 then
    redis.call('HSET', key, 'detector_position_s', take(), 'detector', take())
  end
end
if ends_as ~= '' then
  finish(id)
end
return 'done'
