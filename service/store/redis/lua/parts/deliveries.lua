-- Renew the lease of the server that delivers webhooks.
local function keep_delivering(deliverer, patience_s)
  if redis.call('GET', P .. 'deliverer') == deliverer then
    redis.call('PEXPIRE', P .. 'deliverer', patience_s * 1000)
  end
end

-- The newest attempts to deliver to a webhook, as JSON.
local function keep_attempt(id, attempt, kept)
  redis.call('LPUSH', P .. 'deliveries:' .. id, attempt)
  redis.call('LTRIM', P .. 'deliveries:' .. id, 0, kept - 1)
end
