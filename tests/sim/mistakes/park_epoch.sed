# SPDX-License-Identifier: MIT
# A wake-up that finds a sleeper does not count as one.
s/atomic_fetch_add_explicit(&park->epoch, 1, /atomic_fetch_add_explicit(\&park->epoch, 0, /
