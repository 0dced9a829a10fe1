# SPDX-License-Identifier: MIT
# Ranges are pushed onto a full ring, and gone.
s/cu_ring_room(f->ring) == 0/0/
s/CU_CHECK(cu_ring_push(f->ring, &entry))/cu_ring_push(f->ring, \&entry)/
