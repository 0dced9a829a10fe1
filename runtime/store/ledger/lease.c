/* SPDX-License-Identifier: MIT */
/*
 * lease.c - who runs a consumer, and since which fence.
 *
 * A lease keeps two processes from doing the same work; it is not what keeps them from doing it twice.
 * That is the watermark's compare-and-set, which carries the fence: a holder that slept past its
 * expiry finds the fence raised and commits nothing. A row is never deleted, so fences only rise.
 */
#include "store/ledger/ledger.h"

#include "base/check.h"
#include "base/error.h"
#include "store/ledger/ledger_inside.h"

#include <stdio.h>
#include <string.h>

#define ASK_AGAIN_MAX_NS (500 * CU_NS_PER_MS) /* a holder that was killed is noticed within this */
#define BORROWED_NS (60 * CU_NS_PER_S)
#define ASK_AGAIN_MIN_NS (10 * CU_NS_PER_MS)

struct lease {
	struct cu_owner holder;
	int64_t fence;
	int64_t expires_ns;
};

void cu_owner_self(struct cu_owner *owner)
{
	char host[200];

	memset(owner, 0, sizeof(*owner));
	cu_os_host_name(host, sizeof(host));
	owner->pid = cu_os_pid();
	owner->start = cu_os_process_start(cu_os_pid());
	owner->space = cu_os_pid_space();
	owner->instance = (int64_t)(cu_os_random() >> 1);
	cu_os_boot_id(owner->boot, sizeof(owner->boot));
	snprintf(owner->name, sizeof(owner->name), "%s:%lld", host, (long long)owner->pid);
}

/* One that cannot be looked at, by us now or by itself then, is not taken for gone. */
static bool may_live(const struct cu_owner *holder)
{
	int64_t start = cu_os_process_start((pid_t)holder->pid);

	return start == holder->start || start == 0 || (start > 0 && holder->start <= 0);
}

bool cu_lease_is_held(const struct cu_owner *holder, int64_t expires_ns, const struct cu_owner *self)
{
	/* Boot clocks of two boots have nothing to do with each other, and no process outlives one. */
	if (holder->pid == 0 || strcmp(holder->boot, self->boot) != 0)
		return false;
	if (expires_ns <= cu_os_boottime_ns())
		return false;
	/* In another set of processes the pid says nothing; then the expiry alone decides. */
	if (holder->space != self->space)
		return true;
	return may_live(holder);
}

/* The holder's process is gone, and did not say so. One of another container that has let its lease expire
 * is taken for gone: a container that crashes is started again as another one. So is one that went with its
 * machine: a row that takes all memory may end both. */
static bool has_died(const struct lease *lease, const struct cu_owner *self)
{
	const struct cu_owner *holder = &lease->holder;

	return holder->pid != 0 && lease->expires_ns != 0 &&
		(strcmp(holder->boot, self->boot) != 0 || holder->space != self->space ||
			!may_live(holder));
}

static bool is_self(const struct cu_owner *holder, const struct cu_owner *self)
{
	return strcmp(holder->boot, self->boot) == 0 && holder->pid == self->pid &&
		holder->start == self->start && holder->instance == self->instance &&
		holder->space == self->space;
}

/* All zero for a consumer that nobody has ever leased. */
static int read_lease(struct cu_ledger *ledger, struct lease *lease, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_LEASE_READ,
		"SELECT fence, owner, boot, pid, start, instance, space, expires_ns"
		" FROM main.catchup_lease WHERE name = ?1", &stmt, error);

	memset(lease, 0, sizeof(*lease));
	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		lease->fence = sqlite3_column_int64(stmt, 0);
		cu_ledger_copy_text(lease->holder.name, sizeof(lease->holder.name), stmt, 1);
		cu_ledger_copy_text(lease->holder.boot, sizeof(lease->holder.boot), stmt, 2);
		lease->holder.pid = sqlite3_column_int64(stmt, 3);
		lease->holder.start = sqlite3_column_int64(stmt, 4);
		lease->holder.instance = sqlite3_column_int64(stmt, 5);
		lease->holder.space = sqlite3_column_int64(stmt, 6);
		lease->expires_ns = sqlite3_column_int64(stmt, 7);
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_ledger_failed(ledger, stmt, "reading the lease", error);
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}

static int write_lease(struct cu_ledger *ledger, const struct lease *lease,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_LEASE_WRITE,
		"INSERT OR REPLACE INTO main.catchup_lease(name, fence, owner, boot, pid, start, instance,"
		" space, expires_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", &stmt,
		error);

	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int64(stmt, 2, lease->fence);
	sqlite3_bind_int64(stmt, 5, lease->holder.pid);
	sqlite3_bind_int64(stmt, 6, lease->holder.start);
	sqlite3_bind_int64(stmt, 7, lease->holder.instance);
	sqlite3_bind_int64(stmt, 8, lease->holder.space);
	sqlite3_bind_int64(stmt, 9, lease->expires_ns);
	rc = cu_ledger_bind_text(
		ledger, stmt, 3, lease->holder.name, strlen(lease->holder.name), error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_bind_text(
			ledger, stmt, 4, lease->holder.boot, strlen(lease->holder.boot), error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_run(ledger, stmt, "taking the lease", NULL, error);
	/* The texts are the caller's. */
	sqlite3_bind_null(stmt, 3);
	sqlite3_bind_null(stmt, 4);
	return rc;
}

static void tell_holder(const struct lease *lease, char *other, size_t other_bytes, int64_t *wait_ns)
{
	int64_t left = lease->expires_ns - cu_os_boottime_ns();

	if (other && other_bytes)
		snprintf(other, other_bytes, "%s", lease->holder.name);
	*wait_ns = left > ASK_AGAIN_MAX_NS ? ASK_AGAIN_MAX_NS
		: left < ASK_AGAIN_MIN_NS ? ASK_AGAIN_MIN_NS : left;
}

int cu_ledger_take_lease(struct cu_ledger *ledger, const struct cu_owner *self, int64_t life_ns,
	int64_t *fence, char *other, size_t other_bytes, int64_t *wait_ns, bool *died,
	struct catchup_error *error)
{
	struct cu_own_transaction t;
	struct lease lease;
	bool taken;
	int rc;

	*fence = *wait_ns = 0;
	*died = false;
	if (other && other_bytes)
		other[0] = '\0';
	/* A look without the write lock: one who waits for a lease does not hold up its holder. */
	rc = read_lease(ledger, &lease, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (!is_self(&lease.holder, self) && cu_lease_is_held(&lease.holder, lease.expires_ns, self)) {
		tell_holder(&lease, other, other_bytes, wait_ns);
		return CATCHUP_OK;
	}
	rc = cu_own_begin(&t, ledger->conn, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = read_lease(ledger, &lease, error);
	taken = rc == CATCHUP_OK && (is_self(&lease.holder, self) ||
		!cu_lease_is_held(&lease.holder, lease.expires_ns, self));
	if (taken) {
		*died = has_died(&lease, self);
		if (*died && other && other_bytes)
			snprintf(other, other_bytes, "%s", lease.holder.name);
		lease.holder = *self;
		lease.fence++;
		lease.expires_ns = cu_deadline(cu_os_boottime_ns(), life_ns);
		rc = write_lease(ledger, &lease, error);
	} else if (rc == CATCHUP_OK) {
		tell_holder(&lease, other, other_bytes, wait_ns);
	}
	rc = cu_own_end(&t, rc, error);
	if (rc == CATCHUP_OK && taken)
		*fence = lease.fence;
	return rc;
}

static int set_expiry(struct cu_ledger *ledger, int64_t fence, int64_t expires_ns, bool *lost,
	struct catchup_error *error)
{
	struct cu_own_transaction t;
	sqlite3_stmt *stmt;
	int changes = 0;
	int rc = cu_ledger_book(ledger, CU_BOOK_LEASE_RENEW,
		"UPDATE main.catchup_lease SET expires_ns = ?3 WHERE name = ?1 AND fence = ?2", &stmt,
		error);

	*lost = false;
	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(fence > 0);
	rc = cu_own_begin(&t, ledger->conn, error);
	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int64(stmt, 2, fence);
	sqlite3_bind_int64(stmt, 3, expires_ns);
	rc = cu_ledger_run(ledger, stmt, "renewing the lease", &changes, error);
	rc = cu_own_end(&t, rc, error);
	*lost = rc == CATCHUP_OK && changes == 0;
	return rc;
}

int cu_ledger_renew_lease(struct cu_ledger *ledger, int64_t fence, int64_t life_ns, bool *lost,
	struct catchup_error *error)
{
	return set_expiry(ledger, fence, cu_deadline(cu_os_boottime_ns(), life_ns), lost, error);
}

static int renew_instance(struct cu_ledger *ledger, const struct cu_owner *self,
	int64_t expires_ns, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_conn_prepare(ledger->conn, &stmt, error,
		"UPDATE main.catchup_lease SET expires_ns = ?1 WHERE instance = ?2 AND pid = ?3"
		" AND expires_ns > 0");

	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int64(stmt, 1, expires_ns);
	sqlite3_bind_int64(stmt, 2, self->instance);
	sqlite3_bind_int64(stmt, 3, self->pid);
	rc = cu_ledger_run(ledger, stmt, "renewing leases", NULL, error);
	sqlite3_finalize(stmt);
	return rc;
}

int cu_ledger_renew_all(struct cu_ledger *ledger, const struct cu_owner *self, int64_t fence,
	int64_t life_ns, bool *lost, struct catchup_error *error)
{
	int64_t expires_ns = cu_deadline(cu_os_boottime_ns(), life_ns);
	struct cu_own_transaction t;
	int rc = cu_own_begin(&t, ledger->conn, error);

	*lost = false;
	if (rc != CATCHUP_OK)
		return rc;
	rc = set_expiry(ledger, fence, expires_ns, lost, error);
	if (rc == CATCHUP_OK)
		rc = renew_instance(ledger, self, expires_ns, error);
	return cu_own_end(&t, rc, error);
}

int cu_ledger_borrow_lease(struct cu_ledger *ledger, int64_t *fence, struct catchup_error *error)
{
	struct cu_owner self;
	char other[256] = "";
	int64_t wait_ns;
	bool died;
	int rc;

	*fence = 0;
	cu_owner_self(&self);
	rc = cu_ledger_take_lease(
		ledger, &self, BORROWED_NS, fence, other, sizeof(other), &wait_ns, &died, error);
	if (rc == CATCHUP_OK && *fence == 0)
		rc = cu_error_set(
			error, CATCHUP_LOCKED, 0, "%.200s runs it; stop that first", other);
	return rc;
}

int cu_ledger_drop_lease(struct cu_ledger *ledger, int64_t fence, struct catchup_error *error)
{
	bool lost;

	/* Who held it last stays, expired at the dawn of time. */
	return set_expiry(ledger, fence, 0, &lost, error);
}

int cu_ledger_drop_lease_of(struct cu_ledger *ledger, const char *name, int64_t fence)
{
	return cu_conn_exec_owned(ledger->conn,
		sqlite3_mprintf("UPDATE main.catchup_lease SET expires_ns = 0 WHERE name = %Q AND fence = %lld",
			name, (long long)fence),
		NULL);
}
