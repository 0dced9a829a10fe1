-- What the pipeline must have made of the messages, worked out by one plain query over the source,
-- and compared with what it did make. One line per kind of result: what, expected, found, lost,
-- doubled. The query shares nothing with the consumers but the tables.
WITH
-- The messages of our model, one line each. json_each tells a key that stands twice from one that
-- does not; broken JSON has no keys.
message(id, time, keys, different, sensor, channel, event) AS (
  SELECT raw.id, raw.time, count(*), count(DISTINCT field.key),
    max(CASE WHEN field.key = 'id' AND field.type IN ('integer', 'real') THEN field.value END),
    max(CASE WHEN field.key = 'channel' AND field.type IN ('integer', 'real') THEN field.value END),
    max(CASE WHEN field.key = 'event' AND field.type IN ('integer', 'real') THEN field.value END)
  FROM rtl433_raw AS raw
  JOIN json_each(CASE WHEN json_valid(raw.data) THEN raw.data ELSE '{}' END) AS field
  WHERE raw.model = 'Honeywell-Security'
  GROUP BY raw.id),
-- Those that are sound, numbered per sensor and channel, with their time in milliseconds.
sound(id, time, ms, sensor, channel, event, n) AS MATERIALIZED (
  SELECT id, time, CAST(strftime('%s', time) AS INTEGER) * 1000 + CAST(substr(time, 21, 3) AS INTEGER),
    CAST(sensor AS INTEGER), CAST(channel AS INTEGER), CAST(event AS INTEGER),
    row_number() OVER (PARTITION BY sensor, channel ORDER BY id)
  FROM message
  WHERE keys = different AND keys <= 64
    AND sensor BETWEEN 1 AND 1048575 AND sensor = CAST(sensor AS INTEGER)
    AND channel BETWEEN 0 AND 15 AND channel = CAST(channel AS INTEGER)
    AND event BETWEEN 0 AND 255 AND event = CAST(event AS INTEGER)),
-- Each sensor's messages in order, with the time of the last one that counts: the same state within
-- five seconds of that is a repeat.
heard(sensor, channel, n, id, time, event, ms, is_new) AS (
  SELECT sensor, channel, n, id, time, event, ms, true FROM sound WHERE n = 1
  UNION ALL
  SELECT s.sensor, s.channel, s.n, s.id, s.time, s.event,
    CASE WHEN s.event = h.event AND abs(s.ms - h.ms) <= 5000 THEN h.ms ELSE s.ms END,
    NOT (s.event = h.event AND abs(s.ms - h.ms) <= 5000)
  FROM heard AS h JOIN sound AS s ON s.sensor = h.sensor AND s.channel = h.channel AND s.n = h.n + 1),
state(id, time, sensor, channel, event) AS MATERIALIZED (
  SELECT id, time, sensor, channel, event FROM heard WHERE is_new),
-- The loops that each sensor has, with their bit and whether they are open when all is well.
bit(loop, bit) AS (VALUES (1, 128), (2, 32), (3, 16), (4, 64)),
loop(sensor, loop, bit, normally_open) AS MATERIALIZED (
  SELECT s.id, b.loop, b.bit, coalesce(here.siteNormallyOpen, made.factoryNormallyOpen, false)
  FROM honeywell5800_sensors AS s, bit AS b
  LEFT JOIN honeywell5800_model_loops AS made ON made.model = s.model AND made.loop = b.loop
  LEFT JOIN honeywell5800_site_loops AS here ON here.sensor = s.id AND here.loop = b.loop
  WHERE s.model IS NOT NULL AND here.disabled IS NOT true
    AND (here.loop IS NOT NULL OR made.typicallyUnused = false)),
tripped(sensor, loop, time, now, before) AS (
  SELECT sensor, loop, time, is_trip,
    lag(is_trip, 1, false) OVER (PARTITION BY sensor, loop ORDER BY id)
  FROM (SELECT l.sensor, l.loop, s.id, s.time, ((s.event & l.bit) <> 0) <> l.normally_open AS is_trip
        FROM state AS s JOIN loop AS l ON l.sensor = s.sensor)),
-- Every single result, as what it is and how often it should be and is there.
result(what, which, expected, found) AS (
  SELECT 'updates', sensor || ' ' || channel || ' ' || event || ' ' || time, 1, 0 FROM state
  UNION ALL
  SELECT 'updates', sensor || ' ' || channel || ' ' || event || ' ' || time, 0, 1
    FROM honeywell5800_updates
  UNION ALL
  SELECT CASE WHEN now THEN 'trips opened' ELSE 'trips closed' END, sensor || ' ' || loop || ' ' || time,
    1, 0 FROM tripped WHERE now <> before
  UNION ALL
  SELECT 'trips opened', t.sensor || ' ' || loop || ' ' || time, 0, 1
    FROM honeywell5800_trips AS t JOIN honeywell5800_updates AS u ON u.id = t.trippedBy
  UNION ALL
  SELECT 'trips closed', t.sensor || ' ' || loop || ' ' || time, 0, 1
    FROM honeywell5800_trips AS t JOIN honeywell5800_updates AS u ON u.id = t.clearedBy
  UNION ALL
  SELECT 'totals: updates', sensor || ' ' || substr(time, 1, 13) || 'Z', 1, 0 FROM state
  UNION ALL
  SELECT 'totals: updates', sensor || ' ' || hour, 0, updates FROM honeywell5800_totals
  UNION ALL
  SELECT 'totals: heartbeats', sensor || ' ' || substr(time, 1, 13) || 'Z', 1, 0 FROM state
    WHERE event & 4
  UNION ALL
  SELECT 'totals: heartbeats', sensor || ' ' || hour, 0, heartbeats FROM honeywell5800_totals
  UNION ALL
  SELECT 'totals: battery low', sensor || ' ' || substr(time, 1, 13) || 'Z', 1, 0 FROM state
    WHERE event & 8
  UNION ALL
  SELECT 'totals: battery low', sensor || ' ' || hour, 0, battery_low FROM honeywell5800_totals),
difference(what, which, expected, found) AS (
  SELECT what, which, sum(expected), sum(found) FROM result GROUP BY what, which)
SELECT what, sum(expected) AS expected, sum(found) AS found,
  sum(max(expected - found, 0)) AS lost, sum(max(found - expected, 0)) AS doubled
FROM difference GROUP BY what ORDER BY what DESC;
