#!lua
-- event_update - bring the fields that PostgreSQL owns to a newer version.
--
-- KEYS  event
-- ARGV  total, opens at, closes at (unix ms), closed (0 or 1), version
--
-- Returns 1, 0 when Redis has this version or a newer one, -1 when it has no
-- such event (or only its fence): that is the loader's business.  Numbers,
-- users and the fence are not touched; CLOSED is for good.

local event = redis.call('HMGET', KEYS[1], 'total', 'version')
if not event[1] then
	return -1
end
if tonumber(event[2]) >= tonumber(ARGV[5]) then
	return 0
end
redis.call('HSET', KEYS[1], 'total', ARGV[1], 'opensAt', ARGV[2],
	'closesAt', ARGV[3], 'version', ARGV[5])
if ARGV[4] == '1' then
	redis.call('HSET', KEYS[1], 'closed', '1')
end
return 1
