-- Active subscriptions, for one deliverer at a time. Returns {id, revision}, ...
local deliverer, patience_s = take(), take_number()
local key = P .. 'deliverer'
if (redis.call('GET', key) or deliverer) ~= deliverer then
  return {}
end
redis.call('SET', key, deliverer, 'PX', patience_s * 1000)
local active = {}
for _, id in ipairs(redis.call('ZRANGE', P .. 'subscriptions', 0, -1)) do
  local state, revision = unpack(redis.call('HMGET', P .. 'subscription:' .. id, 'state', 'revision'))
  if state == 'active' and revision and string.match(revision, '^%d+$') then
    table.insert(active, { id, revision })
  end
end
return active
