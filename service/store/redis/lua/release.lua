-- uses orphans
-- Remove a worker; its sessions may be claimed at once.
forget_worker(take())
return 'done'
