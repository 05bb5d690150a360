-- uses deliveries
-- Note how far deliveries have come. Returns the ids of subscriptions that were changed; of all, if another server delivers.
local deliverer, patience_s = take(), take_number()
local delivers = redis.call('GET', P .. 'deliverer') == deliverer
keep_delivering(deliverer, patience_s)
local moved = {}
for _ = 1, take_number() do
  local id, revision, progress, state = take(), take(), take(), take()
  local key = P .. 'subscription:' .. id
  if delivers and redis.call('HGET', key, 'revision') == revision and redis.call('HGET', key, 'state') == 'active' then
    redis.call('HSET', key, 'progress', progress, 'state', state)
  else
    table.insert(moved, id)
  end
end
return moved
