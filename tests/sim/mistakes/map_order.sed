# SPDX-License-Identifier: MIT
# Mapped ranges are taken as they come.
s/m->done && m->done->lo == m->next_lo/m->done/
