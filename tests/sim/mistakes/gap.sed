# SPDX-License-Identifier: MIT
# A gap in the sequence is not told.
s/line.why = &why;/(void)why;/
