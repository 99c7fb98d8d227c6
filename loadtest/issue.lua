-- SPDX-License-Identifier: MIT
-- issue.lua - for wrk: a new user in every request, the figures as JSON.
--
--	wrk ... -s issue.lua URL -- EVENT FIRST_USER [LIMIT [EVENTS]]
--
-- With LIMIT > 0 each thread sends that many requests and then falls silent.
-- With EVENTS they go round that many events, numbered from EVENT.

local HEAD = "POST /api/user-coupons/issue-async HTTP/1.1\r\n" ..
	"Host: localhost\r\nContent-Type: application/json\r\n"
local USERS_PER_THREAD = 1000000000
local threads = 0

function setup(thread)
	thread:set("number", threads)
	threads = threads + 1
end

function init(args)
	local event = tonumber(args[1])

	sent = 0
	limit = tonumber(args[3] or "0")
	events = tonumber(args[4] or "1")
	user = tonumber(args[2]) + number * USERS_PER_THREAD
	prefixes = {}
	for i = 0, events - 1 do
		local start = '{"couponId":' .. event + i .. ',"userId":'
		-- Every user of a thread has the same number of digits.
		prefixes[i] = HEAD .. "Content-Length: " ..
			#start + #string.format("%.0f}", user) ..
			"\r\n\r\n" .. start
	end
	if limit > 0 then
		function delay()
			return sent < limit and 0 or 3600000
		end
	end
end

function request()
	sent = sent + 1
	user = user + 1
	return prefixes[sent % events] .. string.format("%.0f", user) .. "}"
end

function done(summary, latency, requests)
	local errors = summary.errors

	io.write(string.format(
		'{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,' ..
		'"broken":%d,"not_2xx":%d}\n',
		summary.requests, summary.duration / 1e6,
		latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
		errors.connect + errors.read + errors.write + errors.timeout,
		errors.status))
end
