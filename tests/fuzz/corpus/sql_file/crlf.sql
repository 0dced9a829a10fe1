-- name: a
-- source: t
-- row
INSERT INTO t(a) VALUES(@a);
