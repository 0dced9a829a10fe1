-- name: a
-- source: t
-- setup
CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT CASE 1 WHEN 1 THEN [;] END; DELETE FROM t; END;
SELECT `a;`, "b;"/*;*/;--;
-- row
DELETE FROM t WHERE id = @id