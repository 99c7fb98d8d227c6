#!lua flags=no-writes
-- status - what Redis knows of one user's request.
--
-- KEYS  event, users, pending      ARGV  user, request ('' for the present one)
--
-- Returns {LIVE | FENCED | MISSING, entry, pending, rejection}: the entry as
-- issue.lua wrote it and '1' when it waits in the outbox, the rejection of
-- this very request; '' for what is not there.

local user, request = ARGV[1], ARGV[2]
local event = redis.call('HMGET', KEYS[1], 'total', 'fenced')
local presence = 'LIVE'
if event[2] and event[2] ~= '0' then
	presence = 'FENCED'
elseif not event[1] then
	presence = 'MISSING'
end

local held = redis.call('HMGET', KEYS[2], user, user .. ':' .. request)
local entry, rejection, pending = held[1] or '', held[2] or '', ''
if request ~= '' and entry:sub(1, #request + 1) ~= request .. ':' then
	entry = ''
end
local id, seq = entry:match('^([^:]+):(%d+):')
if id and redis.call('ZSCORE', KEYS[3], user .. ':' .. id .. ':' .. seq) then
	pending = '1'
end
return { presence, entry, pending, rejection }
