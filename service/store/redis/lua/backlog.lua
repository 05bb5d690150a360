-- How many webhooks have undelivered events, and the first such event of some: those whose next attempt is the latest,
-- which have failed the longest.
local looked_at = take_number()
local events = {}
for _, id in ipairs(redis.call('ZREVRANGE', P .. 'webhooks', 0, looked_at - 1)) do
  local first = '-'
  local media_ms, seq = string.match(redis.call('HGET', P .. 'webhook:' .. id, 'delivered') or '', '^(%d+)-(%d+)$')
  if media_ms then
    first = string.format('(%s-%d', media_ms, tonumber(seq) + 1)
  end
  local entry = redis.call('XRANGE', P .. 'events:' .. id, first, '+', 'COUNT', 1)[1]
  if entry then
    for n = 1, #entry[2], 2 do
      if entry[2][n] == 'event' then
        table.insert(events, entry[2][n + 1])
      end
    end
  end
end
return { redis.call('ZCARD', P .. 'webhooks'), events }
