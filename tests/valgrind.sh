#!/usr/bin/env bash
# Runs the Rust test binaries under valgrind's memcheck. Fails on any error it finds, and where there is no valgrind.
#
#   tests/valgrind.sh                 all test binaries
#   tests/valgrind.sh hostile         those whose name contains this
#
# Left out:
# - faults: a million deliberate SIGBUS. Each is an error of memcheck's by design, and under its emulation the
#   addresses that the fault guard knows are not those that run.
# - the tests of map that are hostile by size: they take gigabytes and hours here, and hostile gives the same reader
#   smaller input of the same kinds.
# - the schema test of map, which runs a validator that is not ours.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind > /dev/null; then
    echo "tests/valgrind.sh: there is no valgrind; on Debian: apt install valgrind" >&2
    exit 2
fi

# Under valgrind all is twenty to fifty times slower.
export DEVREGS_FUZZ=${DEVREGS_FUZZ:-40}
wanted=${1:-}

binaries=$(cargo test --no-run --message-format=json "${CARGO_FLAGS:---quiet}" |
    python3 -c '
import json, sys
for line in sys.stdin:
    found = json.loads(line) if line.startswith("{") else {}
    if found.get("profile", {}).get("test") and found.get("executable"):
        print(found["target"]["name"], found["executable"])
')
test -n "$binaries"

while read -r name binary; do
    case $name in
        faults) continue ;;
        *"$wanted"*) ;;
        *) continue ;;
    esac
    echo "== $name"
    valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite \
        "$binary" --test-threads=1 --quiet --skip hostile:: --skip schema
done <<< "$binaries"
echo "valgrind found nothing"
