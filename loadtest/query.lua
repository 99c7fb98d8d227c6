-- SPDX-License-Identifier: MIT
-- query.lua - for wrk: GETs of one path after another, the figures as JSON.
--
--	wrk ... -s query.lua URL -- PATH FIRST COUNT
--
-- %d in PATH becomes FIRST, FIRST + 1 ... and after COUNT of them FIRST again.

function init(args)
	path = args[1]
	first, count = tonumber(args[2]), tonumber(args[3])
	sent = 0
end

function request()
	sent = sent + 1
	return "GET " .. string.gsub(path, "%%d",
		string.format("%.0f", first + sent % count)) ..
		" HTTP/1.1\r\nHost: localhost\r\n\r\n"
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
