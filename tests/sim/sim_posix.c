/* SPDX-License-Identifier: MIT */
#include "sim_posix.h"

#include "base/os_posix_file.c"
