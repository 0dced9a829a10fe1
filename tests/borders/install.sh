#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install.sh: installs into a folder and builds the embedding example against what stands there, by
# the pkg-config file alone, with the shared and with the static library, and runs both.
#
# The environment says SOURCE and BUILD (folders), CC and PREFIX.
set -eu
for tool in pkg-config sqlite3; do
	command -v $tool >/dev/null 2>&1 || {
		echo "skipped: $tool is not installed"
		exit 77
	}
done
folder=$(mktemp -d "${TMPDIR:-/tmp}/catchup-install.XXXXXX")
trap 'rm -rf "$folder"' EXIT

DESTDIR= meson install -C "$BUILD" --no-rebuild --quiet --destdir "$folder/root"
installed=$folder/root$PREFIX
PKG_CONFIG_PATH=$(dirname "$(find "$installed" -name catchup.pc)")
export PKG_CONFIG_PATH
package() {
	pkg-config --define-variable=prefix="$installed" "$@" catchup
}
libraries=$(package --variable=libdir)

for file in bin/catchup include/catchup/catchup.h include/catchup/consumer.h \
	include/catchup/changelog.h; do
	[ -e "$installed/$file" ] || {
		echo "not installed: $file"
		exit 1
	}
done
"$installed/bin/catchup" version

# shellcheck disable=SC2046 # flags are words
$CC -std=c11 -Wall -Wextra -Werror "$SOURCE/docs/embed.c" -o "$folder/shared" \
	$(package --cflags) $(package --libs)
readelf -d "$folder/shared" | grep -q 'NEEDED.*\[libcatchup\.so\.0\]'
# shellcheck disable=SC2046
$CC -std=c11 -Wall -Wextra -Werror "$SOURCE/docs/embed.c" -o "$folder/static" \
	$(package --cflags) $(package --static --libs | sed 's/-lcatchup/-l:libcatchup.a/')
if readelf -d "$folder/static" | grep 'NEEDED.*libcatchup'; then
	echo "the static example uses the shared library"
	exit 1
fi

cat >"$folder/order_totals.sql" <<'END'
-- name: order_totals
-- source: orders
-- setup
CREATE TABLE IF NOT EXISTS order_totals(customer TEXT PRIMARY KEY, amount INTEGER NOT NULL);
-- apply
INSERT INTO order_totals(customer, amount)
  SELECT customer, sum(amount) FROM orders WHERE id > @last AND id <= @max GROUP BY customer
  ON CONFLICT(customer) DO UPDATE SET amount = amount + excluded.amount;
END
for kind in shared static; do
	database=$folder/$kind.db
	sqlite3 "$database" "CREATE TABLE orders(
			id INTEGER PRIMARY KEY AUTOINCREMENT, amount INTEGER, customer TEXT);
		INSERT INTO orders(amount, customer) VALUES (500, 'a'), (1500, 'a'), (2500, 'b');"
	LD_LIBRARY_PATH=$libraries "$folder/$kind" "$database" "$folder/order_totals.sql" \
		>"$folder/out" || {
		echo "the $kind example ended with $?"
		exit 1
	}
	cat "$folder/out"
	grep -q '^large_orders: row 3 of 3$' "$folder/out"
	grep -q '^order_totals: row 3 of 3$' "$folder/out"
	[ "$(sqlite3 "$database" "SELECT group_concat(id) FROM large_orders")" = 2,3 ]
	[ "$(sqlite3 "$database" "SELECT group_concat(amount) FROM order_totals")" = 2000,2500 ]
done
