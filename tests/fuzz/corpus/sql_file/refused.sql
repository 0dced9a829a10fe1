-- name: a
-- source: t
-- row
/* */ ;; VACUUM; DELETE
 FRM t WHERE a = ?1 AND b = :x AND c = $y