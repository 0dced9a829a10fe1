# SPDX-License-Identifier: MIT
# A follower is called after its worker was woken for it.
/^	cu_park_wake(&f->worker->park);/d
s/^	atomic_store_explicit(&f->worker->called\[f->place\], true.*/	cu_park_wake(\&f->worker->park);\n	cu_os_point();\n&/
