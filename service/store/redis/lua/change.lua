-- Change fields of a session. Returns 'unknown', 'done', or 'moved' when another change came first.
local id, revision = take(), take_number()
if redis.call('EXISTS', session_key(id)) == 0 then
  return 'unknown'
end
if tonumber(field(id, 'revision') or 0) ~= revision then
  return 'moved'
end
while at < #ARGV do
  redis.call('HSET', session_key(id), take(), take())
end
return 'done'
