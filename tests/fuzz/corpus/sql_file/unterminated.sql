-- name: a
-- source: t
-- row
INSERT INTO t SELECT 1, 'open