-- Add the key of a person unless it is there; its name is free for other keys.
local id, record = take(), take()
if redis.call('HSETNX', P .. 'keys', id, record) == 1 then
  redis.call('RPUSH', P .. 'keys:order', id)
end
return 'done'
