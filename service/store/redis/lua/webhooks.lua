-- Webhooks with undelivered events whose next attempt is due, for one deliverer at a time. Returns {id, fields}, ...
local PAGE = 100
local deliverer, patience_s, now, limit = take(), take_number(), take(), take_number()
local skipped_ids, skipped_owners, skipped_receivers = {}, {}, {}
for _, id in ipairs(cjson.decode(take())) do
  skipped_ids[id] = true
end
for _, owner in ipairs(cjson.decode(take())) do
  skipped_owners[cjson.encode(owner)] = true
end
for _, receiver in ipairs(cjson.decode(take())) do
  skipped_receivers[receiver] = true
end

-- Host and port, as `receiver_of` in records.py finds them.
local function receiver_of(url)
  local authority = string.match(url or '', '^%a[%w+.-]*://([^/?#\\]*)')
  return string.lower(string.match(authority or '', '([^@]*)$'))
end

local key = P .. 'deliverer'
if (redis.call('GET', key) or deliverer) ~= deliverer then
  return {}
end
redis.call('SET', key, deliverer, 'PX', patience_s * 1000)
local due, offset = {}, 0
while true do
  local page = redis.call('ZRANGEBYSCORE', P .. 'webhooks', '-inf', now, 'LIMIT', offset, PAGE)
  for _, id in ipairs(page) do
    local owner = field(id, 'owner')
    if not skipped_ids[id] and not (owner and skipped_owners[owner]) then
      local fields = redis.call('HMGET', P .. 'webhook:' .. id, 'url', 'secret', 'delivered', 'attempts', 'failing_since',
        'old_secret', 'old_secret_until')
      if not skipped_receivers[receiver_of(fields[1])] then
        table.insert(due, { id, owner or false, unpack(fields) })
        if #due >= limit then
          return due
        end
      end
    end
  end
  if #page < PAGE then
    return due
  end
  offset = offset + PAGE
end
