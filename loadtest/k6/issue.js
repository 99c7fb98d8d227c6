// SPDX-License-Identifier: MIT
// issue.js - for k6: the scenarios with a think time, and the soak.
//
//	k6 run -e SCENARIO=spike -e URL=http://... -e EVENT=1 -e FIRST_USER=1
//		-e SUMMARY=FILE issue.js
//
// A user of a VU thinks for a second between requests, so N VUs make about N
// requests/s while answers are fast, and fewer when they are not (the closed
// model of the report).  Every 20th request is of a user who asked before.
import http from "k6/http";
import exec from "k6/execution";
import { sleep } from "k6";
import { Counter, Rate, Trend } from "k6/metrics";

const scenario = __ENV.SCENARIO || "baseline";
const minutes = Number(__ENV.SOAK_MINUTES || 30);

// rate: requests/s in the seconds [from, to) `held`, in which all VUs are there;
// limited: the share that the limiter may refuse, by default none.  At the peak
// of the spike, chance lifts some seconds above the limit.
const table = {
  baseline: {
    shape: { executor: "constant-vus", vus: 100, duration: "1m", gracefulStop: "20s" },
    p95: 300,
    errors: 0.005,
    rate: 100,
    held: [0, 60],
  },
  spike: {
    shape: vus(10, ["50s", 500], ["20s", 500], ["50s", 10]),
    p95: 500,
    errors: 0.01,
    limited: 0.05,
    rate: 500,
    held: [50, 70],
  },
  extreme: {
    shape: vus(0, ["30s", 1000], ["60s", 1000], ["10s", 0]),
    p95: 1000,
    errors: 0.05,
    rate: 1000,
    held: [30, 90],
  },
  soak: {
    shape: {
      executor: "constant-arrival-rate",
      rate: 300,
      duration: `${minutes}m`,
      preAllocatedVUs: 300,
      maxVUs: 3000,
      gracefulStop: "20s",
    },
    open: true,
    limited: 0.01,
    rate: 300,
    held: [0, minutes * 60],
  },
}[scenario];

function vus(startVUs, ...stages) {
  return {
    executor: "ramping-vus",
    startVUs,
    gracefulRampDown: "20s", // longer than a request may take: none is cut off
    gracefulStop: "20s",
    stages: stages.map(([duration, target]) => ({ duration, target })),
  };
}

// Four fifths of the rate: users who think are fewer when answers are slow.
function thresholds() {
  const all = {
    requests_per_s: [`count>${0.8 * table.rate}`],
    outcome_limited: [table.limited ? `rate<${table.limited}` : "rate==0"],
    outcome_sold_out: ["rate==0"],
    outcome_duplicate: ["rate<0.06"], // every 20th asks for the second time
  };
  if (table.open) {
    // A start late by more than k6 can make up for is not an answer missing.
    return { errors: ["rate==0"], dropped_iterations: ["count<30"], ...all };
  }
  return {
    http_req_duration: [`p(95)<${table.p95}`],
    accepted_duration: [`p(95)<${table.p95}`],
    errors: [`rate<${table.errors}`],
    ...all,
  };
}

export const options = {
  scenarios: { [scenario]: table.shape },
  thresholds: thresholds(),
  summaryTrendStats: ["min", "med", "avg", "p(95)", "p(99)", "max"],
  discardResponseBodies: false,
};

const outcomes = {};
for (const name of ["accepted", "sold_out", "duplicate", "limited", "5xx", "other"]) {
  outcomes[name] = new Rate(`outcome_${name}`);
}
const errors = new Rate("errors");
// Each request adds its part, so that the sum is a rate.
const requestsPerSecond = new Counter("requests_per_s");
const acceptedDuration = new Trend("accepted_duration", true);
const codes = { SOLD_OUT: "sold_out", ALREADY_ISSUED: "duplicate" };

http.setResponseCallback(http.expectedStatuses(202, 409, 429));

function outcome(response) {
  if (response.status === 202) return "accepted";
  if (response.status === 429) return "limited";
  if (response.status === 409) return codes[response.json("code")] || "other";
  return response.status >= 500 ? "5xx" : "other"; // 0: no answer
}

function user(n) {
  return Number(__ENV.FIRST_USER || 1) + (n % 20 === 19 ? n - 10 : n);
}

export default function () {
  if (!table.open) think();
  const body = JSON.stringify({
    couponId: Number(__ENV.EVENT),
    userId: user(exec.scenario.iterationInTest),
  });
  countRate();
  const response = http.post(
    `${__ENV.URL}/api/user-coupons/issue-async`,
    body,
    { headers: { "Content-Type": "application/json" }, timeout: "15s" },
  );
  count(response);
}

function countRate() {
  const [from, to] = table.held;
  const second = (Date.now() - exec.scenario.startTime) / 1000;
  if (from <= second && second < to) requestsPerSecond.add(1 / (to - from));
}

// Before the request: VUs that start together do not ask together.
function think() {
  sleep(exec.vu.iterationInScenario === 0 ? Math.random() : 0.5 + Math.random());
}

function count(response) {
  const found = outcome(response);
  for (const [name, rate] of Object.entries(outcomes)) rate.add(name === found);
  errors.add(found === "5xx" || found === "other");
  if (found === "accepted") acceptedDuration.add(response.timings.duration);
  if (found === "5xx" || found === "other") say(response);
}

// The first of each VU, in the log: what went wrong.
let said = false;
function say(response) {
  if (said) return;
  said = true;
  console.warn(`${response.status} ${response.error || response.body}`);
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data) };
}
