-- name: a
-- source: t
-- batch-rows: 10
-- next
SELECT * FROM t WHERE id > @last AND id <= @max ORDER BY id;
-- row
UPDATE t SET a = @b WHERE id = @id;
INSERT INTO t(a, b) VALUES(@a, @ID);
-- max
SELECT max(id) AS max FROM t;
