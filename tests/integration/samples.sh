#!/bin/sh
# SPDX-License-Identifier: MIT
#
# samples.sh: compiles and runs the code that stands in README.md and in the public headers, as it
# stands there. The environment says SOURCE, PROGRAM, CC and MODULE_CFLAGS.
set -eu
command -v sqlite3 >/dev/null 2>&1 || {
	echo "skipped: sqlite3 is not installed"
	exit 77
}
folder=$(mktemp -d "${TMPDIR:-/tmp}/catchup-samples.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# The Nth block of a language in README.md.
block() { # LANGUAGE N
	awk -v begin="^\`\`\`$1\$" -v n="$2" '
		$0 ~ begin { seen++; inside = seen == n; next }
		/^```$/ { inside = 0 }
		inside' "$SOURCE/README.md"
}

# The code in the comment at the top of a header: its lines begun with " *<tab>", and the blank ones
# between them.
header_sample() { # HEADER
	awk '/^ \*\t/ { sub(/^ \*\t/, ""); print; next } /^ \*$/ { print ""; next } /^ \*\// { exit }' \
		"$SOURCE/runtime/include/catchup/$1" | sed -n '/^#include/,$p'
}

module() { # NAME: NAME.c into NAME.so
	# shellcheck disable=SC2086 # flags are words
	$CC -std=c11 -Wall -Wextra -Werror -DCATCHUP_MODULE -fPIC -shared $MODULE_CFLAGS \
		"-I$SOURCE/runtime/include" "$1.c" -o "$1.so"
	chmod 755 "$1.so"
}

chmod 700 .
block sql 1 >totals.sql
block c 1 >large.c
header_sample consumer.h >echo.c
header_sample changelog.h >follow.c
for file in totals.sql large.c echo.c follow.c; do
	[ -s "$file" ] || {
		echo "no sample for $file was found"
		exit 1
	}
done
module large
module echo
# shellcheck disable=SC2086
$CC -std=c11 -Wall -Wextra -Werror -c $MODULE_CFLAGS "-I$SOURCE/runtime/include" follow.c -o follow.o

sqlite3 shop.db "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer INTEGER, amount INTEGER);
	INSERT INTO orders(customer, amount) VALUES (1, 10), (2, 5000), (1, 30);"
"$PROGRAM" run shop.db totals.sql ./large.so ./echo.so --until-caught-up 2>log || {
	cat log
	exit 1
}
found=$(sqlite3 shop.db "SELECT group_concat(customer || ':' || orders || ':' || amount, ' ')
	FROM (SELECT * FROM totals ORDER BY customer)")
[ "$found" = "1:2:40 2:1:5000" ] || {
	echo "totals: found $found"
	exit 1
}
# Its results can be rebuilt, as README.md says.
"$PROGRAM" reset shop.db totals >>log 2>&1 || {
	cat log
	exit 1
}
[ "$(sqlite3 shop.db 'SELECT count(*) FROM totals')" = 0 ]
"$PROGRAM" run shop.db totals.sql --until-caught-up 2>>log
[ "$(sqlite3 shop.db 'SELECT sum(orders) FROM totals')" = 3 ]
grep -q 'large: large order 2' log
[ "$(grep -c 'echo: row ' log)" = 3 ]

# Every command that README.md shows is one that there is.
awk '/^```$/ { inside = !inside; next } /^```/ { inside = 1; next } inside && /^catchup [a-z]/' \
	"$SOURCE/README.md" | sed 's/^catchup \([a-z]*\).*/\1/' | sort -u | while read -r word; do
	"$PROGRAM" help | grep -q "^  $word" || {
		echo "README.md shows 'catchup $word', which there is not"
		exit 1
	}
done
echo "samples: totals.sql, large.c, echo.c and follow.c compile and run"
