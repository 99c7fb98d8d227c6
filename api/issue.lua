#!lua
-- issue - give one user the next number of an event, or say why not.
--
-- KEYS  event, users, pending, free      ARGV  user, request, outbox limit
--
-- users    USER          -> REQUEST:SEQ:ACCEPTED_MS   who holds a number
--          USER:REQUEST  -> REASON:SEQ:ACCEPTED_MS    who was rejected
-- pending  USER:REQUEST:SEQ scored by ACCEPTED_MS     not in Kafka yet
--
-- One string comes back, its fields separated by ':'; one string is cheaper
-- than an array for Redis, for the wire and for the reader (api/scripts.c).
-- A refusal writes nothing, except that CLOSED stays CLOSED.  Nothing is
-- written before every check has passed, and Redis refuses a #!lua script
-- before its first line when memory is full: it never stops half way.

local call, format = redis.call, string.format
local user, request = ARGV[1], ARGV[2]

local event = call('HMGET', KEYS[1],
	'total', 'next', 'opensAt', 'closesAt', 'closed', 'fenced', 'lastSeen')
local total = tonumber(event[1])
-- Not '~= "0"': a hash that only a fence has made has no total.
if event[6] and event[6] ~= '0' then
	return 'FENCED'
end
if not total then
	return 'MISSING'
end

local rejection = user .. ':' .. request
local held = call('HMGET', KEYS[2], user, rejection)
if held[2] then
	return 'REJECTED:' .. held[2]
end
if held[1] then
	if held[1]:sub(1, #request + 1) == request .. ':' then
		return 'EARLIER:' .. held[1]
	end
	return 'DUPLICATE:' .. held[1]
end

-- Never earlier than the last time seen: after a failover the new master's
-- clock may be behind, and numbers must rise with time.
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
now = math.max(now, tonumber(event[7]) or 0)

if event[5] == '1' then
	return 'CLOSED'
end
if now >= tonumber(event[4]) then
	call('HSET', KEYS[1], 'closed', '1')
	return 'CLOSED'
end
if now < tonumber(event[3]) then
	return 'NOT_OPEN:' .. event[3] .. ':' .. now
end
if call('ZCARD', KEYS[3]) >= tonumber(ARGV[3]) then
	return 'OUTBOX_FULL'
end

-- Numbers that a rebuild gave back go first, the lowest of them foremost.
local seq, next_seq = call('ZPOPMIN', KEYS[4])[1], event[2]
if not seq then
	seq = next_seq
	if tonumber(seq) > total then
		return 'SOLD_OUT'
	end
	next_seq = format('%d', seq + 1)
end

-- '%d' here, because Redis and Lua write a number as a double: 0.7 us each.
local at = format('%d', now)
call('HSET', KEYS[1], 'next', next_seq, 'lastSeen', at)
call('HSET', KEYS[2], user, request .. ':' .. seq .. ':' .. at)
call('ZADD', KEYS[3], at, rejection .. ':' .. seq)
return 'ACCEPTED:' .. seq .. ':' .. at
