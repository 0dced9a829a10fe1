/* SPDX-License-Identifier: MIT */
/*
 * coverage_end.c - what a process has counted is written down also when it ends itself, not only when it
 * returns from main. For builds that count branches: the linker puts these in libc's place (--wrap).
 */
void __gcov_dump(void);
void __gcov_reset(void);

int __real_raise(int signal_number);
int __wrap_raise(int signal_number);
_Noreturn void __real_abort(void);
_Noreturn void __wrap_abort(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

int __wrap_raise(int signal_number)
{
	int rc;

	__gcov_dump();
	rc = __real_raise(signal_number);
	__gcov_reset();
	return rc;
}

void __wrap_abort(void)
{
	__gcov_dump();
	__real_abort();
}

void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}
