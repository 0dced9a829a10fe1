-- Totals per sensor and hour of the updates that honeywell5800_receive keeps. Set-based: each batch
-- is one statement, added to what is there; the watermark commits with it, so nothing counts twice.
-- name: honeywell5800_totals
-- source: honeywell5800_updates
-- setup
CREATE TABLE IF NOT EXISTS honeywell5800_totals(sensor INTEGER NOT NULL, hour TEXT NOT NULL, updates INTEGER NOT NULL,
  heartbeats INTEGER NOT NULL, battery_low INTEGER NOT NULL, PRIMARY KEY(sensor, hour)) WITHOUT ROWID;
-- apply
INSERT INTO honeywell5800_totals(sensor, hour, updates, heartbeats, battery_low)
  SELECT sensor, strftime('%Y-%m-%dT%HZ', time), count(*), sum(event & 0x04 <> 0), sum(event & 0x08 <> 0)
  FROM honeywell5800_updates WHERE id > @last AND id <= @max GROUP BY 1, 2
  ON CONFLICT(sensor, hour) DO UPDATE SET updates = updates + excluded.updates,
    heartbeats = heartbeats + excluded.heartbeats, battery_low = battery_low + excluded.battery_low;
-- reset
DELETE FROM honeywell5800_totals;
