#!lua
-- fence - from now on nobody is admitted to this event, until the rebuild
-- that holds this epoch (or a later one) lifts it.
--
-- KEYS  event      ARGV  epoch
--
-- Returns 1, or 0 when the event has seen this epoch or a later one.  Makes
-- the hash when Redis has forgotten it: that is what the fence is for.

local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
if epoch >= tonumber(ARGV[1]) then
	return 0
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'fenced', ARGV[1])
return 1
