#!lua
-- outbox_restore - put requests back into the outbox that Kafka has lost.
--
-- KEYS  event, users, pending      ARGV  USER, REQUEST:SEQ, and so on in pairs
--
-- Only what users still holds, under that request and number, and only while
-- the event is live.  Scored by accept time, so the relay takes it next.
-- Returns how many were put back.

local event = redis.call('HMGET', KEYS[1], 'total', 'fenced')
if not event[1] or event[2] ~= '0' then
	return 0
end
local restored = 0
for i = 1, #ARGV, 2 do
	local user, request = ARGV[i], ARGV[i + 1]
	local held = redis.call('HGET', KEYS[2], user)
	if held and held:sub(1, #request + 1) == request .. ':' then
		restored = restored + redis.call('ZADD', KEYS[3], 'NX',
			held:sub(#request + 2), user .. ':' .. request)
	end
end
return restored
