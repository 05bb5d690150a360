-- Remove feedback of a session.
local id, feedback_id = take(), take()
redis.call('HDEL', P .. 'feedback:' .. id, feedback_id)
return 'done'
