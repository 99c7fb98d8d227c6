#!lua flags=no-writes
-- event_read - the figures of an event.
--
-- KEYS  event, users, pending, free
--
-- Returns integers: presence (0 missing, 1 fenced, 2 live), total, next,
-- free, pending, opens at, closes at, closed, version, epoch, oldest entry of
-- the outbox (its score; -1 when empty), now.  Times are unix milliseconds.

local event = redis.call('HMGET', KEYS[1], 'total', 'next', 'opensAt',
	'closesAt', 'closed', 'fenced', 'lastSeen', 'version', 'epoch')
for i, value in ipairs(event) do
	event[i] = tonumber(value or 0)
end
local total, next_seq, opens_at, closes_at, closed, fenced, last_seen, version,
	epoch = unpack(event)

local presence = 2
if fenced ~= 0 then
	presence = 1
elseif total == 0 then
	presence = 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local oldest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
return {
	presence, total, next_seq, redis.call('ZCARD', KEYS[4]),
	redis.call('ZCARD', KEYS[3]), opens_at, closes_at, closed, version,
	epoch, tonumber(oldest or -1), math.max(now, last_seen),
}
