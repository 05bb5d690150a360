-- uses events states queues commits
-- Commit what ends a session, see commit.lua. A script of its own, since each function that it defines costs time.
local ends_as, id, token = take(), take(), take()
local current_token, has_ended, state = unpack(redis.call('HMGET', session_key(id), 'token', '_ended', '_state'))
-- The reply to this commit was lost, or no replica confirmed it: the worker repeats it.
if has_ended and state == ends_as and current_token == token then
  confirm_earlier_run()
  return 'done'
end
local status = commit(id, token)
if status == 'done' then
  finish(id)
end
return status
