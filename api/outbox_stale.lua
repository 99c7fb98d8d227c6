#!lua
-- outbox_stale - the outbox entries that nobody has delivered for a while.
--
-- KEYS  event, users, pending      ARGV  age in ms, most entries
--
-- Returns {now, removed, USER:REQUEST:SEQ:ACCEPTED_MS ...}, oldest first, all
-- that a message needs.  An entry whose request and number users does not
-- hold belongs to nobody: it is removed and counted.  A fenced or missing
-- event has none: its entries are the rebuild's.  Whoever sends an entry
-- leases it afterwards: ZADD pending XX (now + lease - age) entry.

local event = redis.call('HMGET', KEYS[1], 'total', 'fenced', 'lastSeen')
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
now = math.max(now, tonumber(event[3] or 0))
if not event[1] or event[2] ~= '0' then
	return { now, 0 }
end

local reply, removed = { now, 0 }, 0
local entries = redis.call('ZRANGE', KEYS[3], '-inf',
	string.format('%d', now - ARGV[1]), 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, entry in ipairs(entries) do
	local user, rest = entry:match('^(%d+):(.+)$')
	local held = user and redis.call('HGET', KEYS[2], user)
	if held and held:sub(1, #rest + 1) == rest .. ':' then
		reply[#reply + 1] = user .. ':' .. held
	else
		redis.call('ZREM', KEYS[3], entry)
		removed = removed + 1
	end
end
reply[2] = removed
return reply
