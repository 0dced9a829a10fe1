-- nmae: a
-- source: t
-- aply
SELECT 1;
