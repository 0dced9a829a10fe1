-- name: a
-- source: t
-- id: rowid
-- into: b.db
-- on-error: park
-- setup
CREATE TABLE u(x);
-- apply
UPDATE t SET a = @last WHERE id > @last AND id <= @max;
DELETE FROM t WHERE b = 9;
