/* SPDX-License-Identifier: MIT */
/*
 * sim_posix.h - the real file calls under other names, for the simulation's own to stand on.
 */
#ifndef SIM_POSIX_H
#define SIM_POSIX_H

#define cu_file_open posix_file_open
#define cu_file_close posix_file_close
#define cu_file_read_at posix_file_read_at
#define cu_file_write posix_file_write
#define cu_file_sync posix_file_sync
#define cu_file_truncate posix_file_truncate
#define cu_file_lock posix_file_lock
#define cu_file_stat_fd posix_file_stat_fd
#define cu_file_stat_path posix_file_stat_path
#define cu_file_rename posix_file_rename
#define cu_file_remove posix_file_remove
#define cu_file_sync_folder posix_file_sync_folder
#define cu_file_real_path posix_file_real_path
#define cu_folder_make_temporary posix_folder_make_temporary
#define cu_folder_remove posix_folder_remove
#define cu_file_same posix_file_same
#define cu_watch posix_watch
#define cu_watch_create posix_watch_create
#define cu_watch_destroy posix_watch_destroy
#define cu_watch_works posix_watch_works
#define cu_watch_renew posix_watch_renew
#define cu_watch_wait posix_watch_wait
#define cu_watch_rest posix_watch_rest
#define cu_watch_settle posix_watch_settle
#define cu_watch_stop posix_watch_stop
#define cu_watch_wake posix_watch_wake

#endif
