#!/usr/bin/env bash
# The first hour without the thinking: from a clone to an own task that is trained, measured and asked over HTTP.
#
#   bash bench/first_hour.sh REPOSITORY NEW_DIRECTORY
#
# Each step is a line of the README (curl's too); prints its wall seconds, and ends at the first step that fails.
set -euo pipefail
repository=$(realpath "$1") directory=$2
mkdir "$directory"
cd "$directory"
log=$PWD/first_hour.log

step() { # step NAME COMMAND...
  local name=$1 start=$EPOCHREALTIME
  shift
  "$@" >>"$log" 2>&1 || { echo "$name failed; see $log" >&2; exit 1; }
  LC_ALL=C awk -v n="$name" -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%-24s %6.1f s\n", n, b - a }'
}
serves() { for _ in $(seq 120); do curl --silent --fail http://127.0.0.1:8000/health && return; sleep 0.5; done; return 1; }

begin=$EPOCHREALTIME
step "clone" git clone --quiet "$repository" whet
step "make setup" make --silent -C whet setup
PATH=$PWD/whet/.venv/bin:$PATH
step "whet check" whet check
step "whet init" whet init my_task
cd my_task
step "whet train" whet train config.yaml
step "edit the reward" sed -i 's/# "full_stop"/"full_stop"/' my_reward.py
step "whet train" whet train config.yaml
step "whet show" whet show latest
step "whet eval" whet eval latest --num-samples 16
whet serve latest --name mine >>"$log" 2>&1 &
server=$!
step "whet serve" serves
step "curl" curl --silent --fail http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \
  -d '{"model": "mine", "prompt": "Is 38 even or odd?", "max_tokens": 6}'
kill -INT "$server"
step "Ctrl-C" wait "$server"
step "whet export" whet export latest --format hf --out model
LC_ALL=C awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%-24s %6.1f s\n", "all", b - a }'
