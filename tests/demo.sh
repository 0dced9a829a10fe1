#!/bin/bash
# SPDX-License-Identifier: MIT
#
# demo.sh: radio messages through a pipeline of three consumers that is killed on the way.
#
# An application (catchup-feed) inserts messages into a database. `catchup run` turns them into state
# changes of sensors, those into trips, and into totals per sensor and hour. It is killed with SIGKILL
# several times in the middle and started again. At the end one plain SQL query over the messages
# (demo_check.sql) works out what must have come of them, and every single result is compared.
#
# Ends with 0 when nothing was lost and nothing doubled, else with 1. Needs neither root nor network.
set -uo pipefail

usage="usage: tests/demo.sh [--rows N] [--rate N] [--kills N] [--keep FOLDER]
       tests/demo.sh --check DATABASE
  --rows N        messages (400000)
  --rate N        messages inserted per second (25000)
  --kills N       how often the pipeline is killed (6)
  --keep FOLDER   leave the database and the logs there
  --check DB      only compare the results in a database
The build folder is \$BUILD (build)."

top=$(cd "$(dirname "$0")/.." && pwd) || exit 1
build=${BUILD:-$top/build}
rows=400000 rate=25000 kills=6 keep='' check=''
while [ $# -gt 0 ]; do
	case $1 in
	--rows | --rate | --kills | --keep | --check)
		[ $# -gt 1 ] || { echo "demo: $1 needs a value" >&2; exit 2; }
		declare "${1#--}=$2"
		shift 2
		;;
	--help) echo "$usage"; exit 0 ;;
	*) echo "$usage" >&2; exit 2 ;;
	esac
done
for number in "$rows" "$rate" "$kills"; do
	[[ $number =~ ^[1-9][0-9]{0,8}$ ]] || { echo "demo: '$number' is no number" >&2; exit 2; }
done

if [ -t 1 ]; then
	live=1 bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m' clear=$'\r\e[K'
else
	live='' bold='' dim='' red='' green='' plain='' clear=''
fi

# ---- words and numbers ---------------------------------------------------------------------------

group() { # NUMBER: with commas
	sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta' <<<"$1"
}

now_ms() {
	local now=$EPOCHREALTIME
	echo $((${now/[.,]/} / 1000))
}

say() { # FORMAT ARGUMENT...: a line that stays
	printf '%s' "$clear"
	# shellcheck disable=SC2059
	printf "$@"
	echo
}

die() {
	say '%sdemo: %s%s' "$red" "$1" "$plain" >&2
	[ -n "${2:-}" ] && tail -n 20 "$2" >&2
	exit 1
}

# ---- the end: compare ----------------------------------------------------------------------------

lost=0 doubled=0
compare() { # DATABASE: prints a line for each kind of result, adds up lost and doubled
	local what expected found l d lines=0 result
	result=$("$build/bench/catchup-feed" "$1" --query "$top/tests/demo_check.sql") ||
		die "the results could not be compared"
	printf '%s  %-22s %12s %12s %8s %8s%s\n' "$dim" '' expected found lost doubled "$plain"
	while IFS=$'\t' read -r what expected found l d; do
		printf '  %-22s %12s %12s %8s %8s\n' "$what" "$(group "$expected")" "$(group "$found")" \
			"$(group "$l")" "$(group "$d")"
		lost=$((lost + l)) doubled=$((doubled + d)) lines=$((lines + 1))
	done <<<"$result"
	# A comparison that compares nothing is none.
	[ $lines -eq 6 ] || die "the comparison has $lines lines instead of 6"
}

verdict() {
	local colour=$green
	[ $((lost + doubled)) -eq 0 ] || colour=$red
	printf '%s  %-22s %12s%s\n' "$colour" lost "$(group $lost)" "$plain"
	printf '%s  %-22s %12s%s\n' "$colour" doubled "$(group $doubled)" "$plain"
	[ $((lost + doubled)) -eq 0 ]
}

if [ -n "$check" ]; then
	compare "$check"
	verdict
	exit
fi

# ---- the pipeline --------------------------------------------------------------------------------

[ -x "$build/catchup" ] || die "'$build/catchup' is not there: run make first"
if [ -n "$keep" ]; then
	mkdir -p "$keep" && folder=$(cd "$keep" && pwd) || exit 1
else
	folder=$(mktemp -d "${TMPDIR:-/tmp}/catchup-demo.XXXXXX") || exit 1
fi
database=$folder/demo.db
feeder='' pipeline=''
finish() {
	[ -z "$live" ] || printf '\e[?25h'
	[ -z "$pipeline" ] || kill -9 "$pipeline" 2>/dev/null
	[ -z "$feeder" ] || kill -9 "$feeder" 2>/dev/null
	wait 2>/dev/null
	[ -n "$keep" ] || rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

cat >"$folder/where.sql" <<'END'
SELECT coalesce(max(id), 0) FROM rtl433_raw;
SELECT last FROM catchup WHERE name = 'honeywell5800_receive';
END
newest=0 done_to=0
look() { # where the source and the first consumer are
	local at n=0 bar rest
	# The second line is missing until the pipeline has made its tables.
	while read -r at; do
		if [ $((n++)) -eq 0 ]; then newest=$at; else done_to=$at; fi
	done < <("$build/bench/catchup-feed" "$database" --query "$folder/where.sql" 2>/dev/null)
	[ -n "$live" ] || return 0
	printf -v bar '%*s' $((done_to * 40 / rows)) ''
	printf -v rest '%*s' $((newest * 40 / rows - done_to * 40 / rows)) ''
	bar=${bar// /#}${rest// /-}
	printf '%s  %s%-40s%s  %s in, %s done %s' "$clear" "$green" "$bar" "$plain" \
		"$(group "$newest")" "$(group "$done_to")" "${1:-}"
}

run_pipeline() { # ARGUMENT...: in the background
	"$build/catchup" run "$database" honeywell5800_receive honeywell5800_trips \
		"$top/consumers/honeywell5800_totals.sql" --progress never "$@" >>"$folder/run.log" 2>&1 &
	pipeline=$!
}

# Kills the pipeline some time after it has got on from where it was, so that every kill hits work.
kill_in_the_middle() {
	local from=$done_to wait_ms=$((20 + RANDOM % 900)) until
	while [ "$done_to" -le "$from" ]; do
		kill -0 "$pipeline" 2>/dev/null || die "the pipeline ended by itself" "$folder/run.log"
		[ "$done_to" -lt "$rows" ] || break
		look
		sleep 0.05
	done
	until=$(($(now_ms) + wait_ms))
	while [ "$(now_ms)" -lt "$until" ]; do
		look
		sleep 0.05
	done
	kill -9 "$pipeline" 2>/dev/null
	wait "$pipeline" 2>/dev/null
	[ $? -eq 137 ] || die "the pipeline ended by itself" "$folder/run.log"
	pipeline=''
	survived=$((survived + 1))
	look
	say '  %skill -9%s  number %d, at row %s of %s' "$red" "$plain" $survived "$(group "$done_to")" \
		"$(group "$newest")"
}

start=$(now_ms)
[ -z "$live" ] || printf '\e[?25l' # without the cursor running along the bar
say '%scatchup%s  radio messages > sensor updates > trips, and totals per hour' "$bold" "$plain"
say '%s  an application inserts %s messages, %s a second%s' "$dim" "$(group "$rows")" \
	"$(group "$rate")" "$plain"
say '%s  catchup run demo.db honeywell5800_receive honeywell5800_trips honeywell5800_totals.sql%s' \
	"$dim" "$plain"

"$build/bench/catchup-feed" "$database" --rows "$rows" --rate "$rate" >"$folder/feed.log" 2>&1 &
feeder=$!
while [ "$newest" -eq 0 ]; do
	kill -0 $feeder 2>/dev/null || {
		look
		[ "$newest" -gt 0 ] || die "the feeder failed" "$folder/feed.log"
	}
	look
	sleep 0.02
done

survived=0
for ((i = 0; i < kills; i++)); do
	# While nothing runs a backlog grows, so that some kills hit full batches.
	[ $i -eq 0 ] || sleep 0.5
	run_pipeline
	kill_in_the_middle
done

# The rest comes in while nobody looks, and the last run works it off.
while kill -0 $feeder 2>/dev/null; do
	look '  (nobody is looking)'
	sleep 0.1
done
wait $feeder || die "the feeder failed" "$folder/feed.log"
feeder=''
look
backlog=$((newest - done_to))
say '  %slast run%s, with %s rows to do' "$bold" "$plain" "$(group $backlog)"
run_start=$(now_ms)
run_pipeline --until-caught-up
while kill -0 "$pipeline" 2>/dev/null; do
	look
	sleep 0.05
done
wait "$pipeline" || die "the last run ended with $?" "$folder/run.log"
pipeline=''
run_ms=$(($(now_ms) - run_start))
look
printf '%s' "$clear"
[ "$done_to" -eq "$newest" ] || die "caught up to row $done_to of $newest only" "$folder/run.log"

echo
compare "$database"
echo
printf '  %-22s %12s\n' 'rows in' "$(group "$newest")"
printf '  %-22s %12s\n' 'kills survived' "$survived"
verdict
code=$?
if [ "$backlog" -gt 0 ]; then
	printf '  %-22s %12s  %s\n' 'rows per second' "$(group $((backlog * 1000 / (run_ms + 1))))" \
		"${dim}three consumers, last run: $(group $backlog) rows in $run_ms ms$plain"
fi
printf '  %-22s %12s  %s\n' 'longest wait' \
	"$(sed -n 's/.*longest wait \([0-9]* ms\).*/\1/p' "$folder/feed.log")" \
	"${dim}of the application, for the write lock$plain"
printf '  %-22s %10s s\n' 'time' "$((($(now_ms) - start) / 1000))"
exit $code
