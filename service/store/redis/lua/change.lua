-- uses queues
-- Change fields of a session. Returns 'unknown', 'done', 'no_model', or 'moved' when another change came first.
local id, revision, model, is_pinned = take(), take_number(), take(), take()
if redis.call('EXISTS', session_key(id)) == 0 then
  return 'unknown'
end
if tonumber(field(id, 'revision') or 0) ~= revision then
  return 'moved'
end
if model ~= field(id, '_model') and not field(id, '_ended') then
  if is_pinned ~= '' and redis.call('HEXISTS', P .. 'models', model) == 0 then
    return 'no_model'
  end
  -- From one queue into another. A claim that reaches the new entry sees whether the session is already claimed.
  local pace = field(id, '_pace')
  leave_queue(id)
  make_queue(pace, model)
  local entry = redis.call('XADD', queue_key(pace, model), '*', 'session', id)
  redis.call('HSET', session_key(id), '_model', model, '_entry', entry)
end
while at < #ARGV do
  redis.call('HSET', session_key(id), take(), take())
end
return 'done'
