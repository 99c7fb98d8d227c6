#!lua
-- rebuild_commit - put a rebuilt event into force and lift its fence.
--
-- KEYS  event, users, pending, free, rebuilt users, rebuilt free
-- ARGV  epoch, next, latest accept time, version, total, opens at, closes at,
--       closed (times in unix ms)
--
-- Only if the event is fenced with exactly this epoch: returns 1, else 0 and
-- nothing has changed.  The fields that PostgreSQL owns are written unless
-- Redis has a newer version of them.  Time does not go back: lastSeen stays at
-- or above the latest request that is known.

local call = redis.call
local event = call('HMGET', KEYS[1], 'fenced', 'total', 'version', 'lastSeen')
if event[1] ~= ARGV[1] then
	return 0
end
call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
for i = 2, 4, 2 do
	local rebuilt = KEYS[4 + i / 2]
	if call('EXISTS', rebuilt) == 1 then
		call('RENAME', rebuilt, KEYS[i])
		call('PERSIST', KEYS[i])
	end
end
local seen = math.max(tonumber(event[4] or 0), tonumber(ARGV[3]))
call('HSET', KEYS[1], 'fenced', '0', 'next', ARGV[2], 'lastSeen',
	string.format('%d', seen))
if not event[2] or tonumber(event[3]) <= tonumber(ARGV[4]) then
	call('HSET', KEYS[1], 'version', ARGV[4], 'total', ARGV[5], 'opensAt',
		ARGV[6], 'closesAt', ARGV[7], 'closed', ARGV[8])
end
return 1
