-- Remove an ended session and everything that belongs to it. Returns 'unknown', 'not_ended' or 'done'.
local id = take()
if redis.call('EXISTS', session_key(id)) == 0 then
  confirm_earlier_run()
  return 'unknown'
end
if not field(id, '_ended') then
  return 'not_ended'
end
for _, entry in ipairs(redis.call('XRANGE', P .. 'events:' .. id, '-', '+')) do
  local cursor = entry[2][4]
  if cursor and string.match(cursor, '^%d+$') then
    redis.call('XDEL', P .. 'log', cursor .. '-0')
  end
end
local owner, state = field(id, '_owner') or '', field(id, '_state')
if owner ~= '' then
  redis.call('ZREM', P .. 'sessions:owner:' .. owner, id)
  -- Not `-bytes`: minus nothing is '-0' for Lua, and no number for Redis 7.0.
  redis.call('HINCRBY', P .. 'usage:bytes', owner, 0 - tonumber(field(id, '_bytes') or 0))
end
redis.call('ZREM', P .. 'sessions', id)
redis.call('ZREM', P .. 'ended', id)
if state then
  redis.call('ZREM', P .. 'sessions:state:' .. state, id)
  redis.call('HINCRBY', P .. 'states', state, -1)
end
redis.call('HDEL', P .. 'idempotency', field(id, '_idempotency') or '')
redis.call('ZREM', P .. 'webhooks', id)
redis.call('DEL', session_key(id), P .. 'events:' .. id, P .. 'scores:' .. id, P .. 'webhook:' .. id,
  P .. 'deliveries:' .. id, P .. 'feedback:' .. id, P .. 'shadow:' .. id)
return 'done'
