-- Keep a span that a shadow version followed, and the starts in it. Returns 'unknown', 'full' or 'done'.
local version, id, max_kept = take(), take(), take_number()
local key = P .. 'shadow:' .. id
if redis.call('EXISTS', session_key(id)) == 0 then
  return 'unknown'
end
if redis.call('HGET', key, 'version') ~= version then
  redis.call('DEL', key)
  redis.call('HSET', key, 'version', version)
end
redis.call('SADD', P .. 'shadowed:' .. version, id)
redis.call('HSET', key, take(), take())
-- Besides the version.
if redis.call('HLEN', key) - 1 + (#ARGV - at) / 2 > max_kept then
  return 'full'
end
while at < #ARGV do
  redis.call('HSETNX', key, take(), take())
end
return 'done'
