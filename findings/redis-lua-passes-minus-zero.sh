#!/usr/bin/env bash
# Redis passes the number -0 of a Lua script to commands as "-0", which they do not take for an integer.
#
# `redis.call('HINCRBY', key, field, -n)` fails where n is 0: numbers of Lua 5.1 are doubles, whose negated zero keeps its
# sign. The commands before it stay done. Subtract instead: `0 - n`.
# Seen with Redis 7.0.15, 2026-11-30. Needs redis-server and redis-cli; it listens on the loopback interface only.
set -euo pipefail
folder=$(mktemp -d)
port=$((20000 + RANDOM % 10000))
redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$folder" >/dev/null &
server=$!
trap 'kill "$server"; rm -rf "$folder"' EXIT
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done

script() {
  redis-cli -p "$port" eval "return redis.call('HINCRBY', 'usage', 'a', $1)" 0 "$2" 2>&1
}

printf 'minus 3: %s\nminus 0: %s\n0 - 0:   %s\n' \
  "$(script '-tonumber(ARGV[1])' 3)" "$(script '-tonumber(ARGV[1])' 0)" "$(script '0 - tonumber(ARGV[1])' 0)"
[[ $(script '-tonumber(ARGV[1])' 0) == *"not an integer"* ]] || { echo "the behaviour has changed"; exit 1; }
[[ $(script '0 - tonumber(ARGV[1])' 0) == -3 ]] || { echo "the behaviour has changed"; exit 1; }
echo "as described"
