-- Write a worker's events, scores, update and resume point. Returns 'done', 'unknown' or 'lost'.
local function commit(id, token)
  local events_max, events_min, log_max = take(), take(), take()
  local found = redis.call('HMGET', session_key(id), 'token', '_worker', '_ended', '_owner', 'webhook')
  local current_token, worker, has_ended, owner, webhook = unpack(found)
  if not current_token then
    return 'unknown'
  end
  if has_ended or worker == '' or current_token ~= token then
    return 'lost'
  end
  local newest
  for _ = 1, take_number() do
    local stream_id, event_id = take(), take()
    if append_event(id, owner, stream_id, take(), events_max, log_max) then
      newest = event_id
    end
  end
  if newest and webhook ~= 'null' then
    wake_webhook(id)
  end
  if events_min ~= '' then
    redis.call('XTRIM', P .. 'events:' .. id, 'MINID', events_min)
  end
  local changed = {}
  if newest then
    changed = { 'last_event_id', '"' .. newest .. '"' }
  end
  for _ = 1, take_number() do
    local name, value = take(), take()
    table.insert(changed, name)
    table.insert(changed, value)
    if name == 'state' then
      set_state(id, string.sub(value, 2, -2))
    end
  end
  if #changed > 0 then
    redis.call('HSET', session_key(id), unpack(changed))
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
  return 'done'
end
