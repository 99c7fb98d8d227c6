# SPDX-License-Identifier: MIT
"""The chaos campaign: faults in a seeded order under load, then a reckoning.

proxy     toxiproxy between the daemons and their servers
faults    what can happen, each with its end
load      clients that journal every answer
reckoning the journal against PostgreSQL, Redis and Kafka: G1-G7
campaign  puts them together
"""
