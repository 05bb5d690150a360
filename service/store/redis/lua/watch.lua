-- uses leases
-- Note a watcher of a session's snapshots; no effect on ended or unknown sessions.
local now, watched_s, id = take_now(), take_number(), take()
redis.call('ZREMRANGEBYSCORE', P .. 'watched', '-inf', now)
if redis.call('EXISTS', session_key(id)) == 1 and not field(id, '_ended') then
  redis.call('ZADD', P .. 'watched', now + watched_s, id)
end
