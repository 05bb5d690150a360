local function set_state(id, state)
  local n, before = field(id, '_n'), field(id, '_state')
  if before then
    redis.call('ZREM', P .. 'sessions:state:' .. before, id)
    redis.call('HINCRBY', P .. 'states', before, -1)
  end
  redis.call('ZADD', P .. 'sessions:state:' .. state, n, id)
  redis.call('HINCRBY', P .. 'states', state, 1)
  redis.call('HSET', session_key(id), '_state', state)
end
