# SPDX-License-Identifier: MIT
# Events that find the ring full are dropped, and nothing is said.
s/^\tatomic_store_explicit(&sub->overflowed, true, memory_order_release);$//
