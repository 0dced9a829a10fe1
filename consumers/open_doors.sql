-- The doors and windows that stand open now: a dozen lines of SQL are a consumer.
-- name: open_doors
-- source: honeywell5800_updates
-- setup
CREATE TABLE IF NOT EXISTS open_doors(sensor INTEGER PRIMARY KEY, since TEXT, open INTEGER NOT NULL);
-- next
SELECT id, sensor, time, event & 0xa0 <> 0 AS open FROM honeywell5800_updates WHERE id > @last AND id <= @max ORDER BY id
-- row
INSERT INTO open_doors(sensor, since, open) VALUES (@sensor, @time, @open)
  ON CONFLICT(sensor) DO UPDATE SET since = excluded.since, open = excluded.open WHERE open <> excluded.open;
-- reset
DELETE FROM open_doors;
