#!lua
-- event_load - put a new event into Redis; never over anything that is there.
--
-- KEYS  event, users, pending, free
-- ARGV  total, opens at, closes at (unix ms), closed (0 or 1), version, epoch
--
-- Returns 1, or 0 when Redis has the event, a fence of it, or what is left of
-- one that lost its hash: numbering that anew would give numbers out twice.

if redis.call('EXISTS', unpack(KEYS)) > 0 then
	return 0
end
redis.call('HSET', KEYS[1], 'total', ARGV[1], 'next', '1', 'opensAt', ARGV[2],
	'closesAt', ARGV[3], 'closed', ARGV[4], 'version', ARGV[5],
	'epoch', ARGV[6], 'fenced', '0', 'lastSeen', '0')
return 1
