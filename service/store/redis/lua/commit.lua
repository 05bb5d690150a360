-- uses events states commits
-- Commit a worker's events, scores, update and resume point atomically. Returns 'done', 'unknown' or 'lost'.
return commit(take(), take())
