-- name: a
-- source: t
-- apply
SELECT @last, @max;
-- into: x
