#!lua
-- issue - give some users the next numbers of an event, or say why not.
--
-- KEYS  event, users, pending, free      ARGV  outbox limit, then of each
--                                              request its user and its id
--
-- users    USER          -> REQUEST:SEQ:ACCEPTED_MS   who holds a number
--          USER:REQUEST  -> REASON:SEQ:ACCEPTED_MS    who was rejected
-- pending  USER:REQUEST:SEQ scored by ACCEPTED_MS     not in Kafka yet
--
-- The requests that an api read in one turn come in one call: what is common
-- to them (the event, the clock, one write per key) is most of the work.  They
-- are decided in their order, each as if it had come alone; one string comes
-- back for each, its fields separated by ':' (api/scripts.c).
-- A refusal writes nothing, except that CLOSED stays CLOSED.  Nothing is
-- written before every check has passed, and Redis refuses a #!lua script
-- before its first line when memory is full: it never stops half way.

local call, format = redis.call, string.format
local answers = {}

local event = call('HMGET', KEYS[1],
	'total', 'next', 'opensAt', 'closesAt', 'closed', 'fenced', 'lastSeen')
local total, next_seq = tonumber(event[1]), tonumber(event[2])
-- Not '~= "0"': a hash that only a fence has made has no total.
local fenced = event[6] and event[6] ~= '0'
if fenced or not total then
	for i = 1, (#ARGV - 1) / 2 do
		answers[i] = fenced and 'FENCED' or 'MISSING'
	end
	return answers
end

local fields = {}
for i = 2, #ARGV, 2 do
	fields[i - 1] = ARGV[i]
	fields[i] = ARGV[i] .. ':' .. ARGV[i + 1]
end
local held = call('HMGET', KEYS[2], unpack(fields))

-- Never earlier than the last time seen: after a failover the new master's
-- clock may be behind, and numbers must rise with time.
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
now = math.max(now, tonumber(event[7]) or 0)
-- '%d' here, because Redis and Lua write a number as a double: 0.7 us each.
local at = format('%d', now)

local shut
if event[5] == '1' then
	shut = 'CLOSED'
elseif now >= tonumber(event[4]) then
	call('HSET', KEYS[1], 'closed', '1')
	shut = 'CLOSED'
elseif now < tonumber(event[3]) then
	shut = 'NOT_OPEN:' .. event[3] .. ':' .. at
end

local room = tonumber(ARGV[1]) - call('ZCARD', KEYS[3])
local given_back = true

-- Numbers that a rebuild gave back go first, the lowest of them foremost.
local function take_number()
	given_back = given_back and call('ZPOPMIN', KEYS[4])[1]
	if given_back then
		return given_back
	end
	if next_seq > total then
		return nil
	end
	next_seq = next_seq + 1
	return format('%d', next_seq - 1)
end

local accepted, users, pending = {}, {}, {}

local function admit(user, request, member)
	if shut then
		return shut
	end
	if room <= 0 then
		return 'OUTBOX_FULL'
	end
	local seq = take_number()
	if not seq then
		return 'SOLD_OUT'
	end
	room = room - 1
	local n, entry = #users, request .. ':' .. seq .. ':' .. at
	accepted[user] = entry -- he may be in this call once more
	users[n + 1], users[n + 2] = user, entry
	pending[n + 1], pending[n + 2] = at, member .. ':' .. seq
	return 'ACCEPTED:' .. seq .. ':' .. at
end

for i = 2, #ARGV, 2 do
	local user, request = ARGV[i], ARGV[i + 1]
	local entry, rejection = held[i - 1] or accepted[user], held[i]
	local answer
	if rejection then
		answer = 'REJECTED:' .. rejection
	elseif not entry then
		answer = admit(user, request, fields[i])
	elseif entry:sub(1, #request + 1) == request .. ':' then
		answer = 'EARLIER:' .. entry
	else
		answer = 'DUPLICATE:' .. entry
	end
	answers[i / 2] = answer
end

if users[1] then
	call('HSET', KEYS[1], 'next', format('%d', next_seq), 'lastSeen', at)
	call('HSET', KEYS[2], unpack(users))
	call('ZADD', KEYS[3], unpack(pending))
end
return answers
