-- Whether a stream still has an entry of the commit with that cursor: the primary may be another one than that which was
-- read from. Returns 1 or 0.
local stream, entry_id, cursor = take(), take(), take()
confirm_earlier_run()
local entry = redis.call('XRANGE', P .. stream, entry_id, entry_id)[1]
if not entry then
  return 0
end
for i = 1, #entry[2], 2 do
  if entry[2][i] == 'cursor' and entry[2][i + 1] ~= cursor then
    return 0
  end
end
return 1
