-- name: order_totals
-- source: orders
-- setup
CREATE TABLE IF NOT EXISTS order_totals(customer TEXT PRIMARY KEY, orders INTEGER NOT NULL, amount INTEGER NOT NULL);
-- apply
INSERT INTO order_totals(customer, orders, amount)
  SELECT customer, count(*), sum(amount) FROM orders WHERE id > @last AND id <= @max GROUP BY customer
  ON CONFLICT(customer) DO UPDATE SET orders = orders + excluded.orders, amount = amount + excluded.amount;
-- reset
DELETE FROM order_totals;
