-- name: a
-- source: t
-- row
﻿-- nothing