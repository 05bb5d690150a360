-- Forget a worker; what it had may be claimed at once.
forget_worker(take())
return 'done'
