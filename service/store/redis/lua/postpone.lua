-- Set aside a webhook that this version cannot read.
local id, until_unix_s = take(), take()
redis.call('ZADD', P .. 'webhooks', 'XX', until_unix_s, id)
return 'done'
