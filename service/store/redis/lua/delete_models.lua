-- Delete versions of uploaded models with their queues, unless sessions that have not ended are pinned to one of them.
-- Returns the number of such sessions.
local keys, used = {}, 0
while at < #ARGV do
  keys[take()] = true
end
for _, state in ipairs({ 'queued', 'starting', 'running', 'reconnecting' }) do
  for _, id in ipairs(redis.call('ZRANGE', P .. 'sessions:state:' .. state, 0, -1)) do
    if keys[field(id, '_model') or ''] then
      used = used + 1
    end
  end
end
if used > 0 then
  return used
end
for key in pairs(keys) do
  redis.call('HDEL', P .. 'models', key)
  for _, id in ipairs(redis.call('SMEMBERS', P .. 'shadowed:' .. key)) do
    if redis.call('HGET', P .. 'shadow:' .. id, 'version') == key then
      redis.call('DEL', P .. 'shadow:' .. id)
    end
  end
  redis.call('DEL', P .. 'shadowed:' .. key)
  for _, pace in ipairs({ 'realtime', 'fast' }) do
    if redis.call('SREM', P .. 'queues', pace .. ':' .. key) == 1 then
      redis.call('DEL', queue_key(pace, key))
      redis.call('HDEL', P .. 'delivered', pace .. ':' .. key)
    end
  end
end
return 0
