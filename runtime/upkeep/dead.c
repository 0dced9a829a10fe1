/* SPDX-License-Identifier: MIT */
/*
 * dead.c - catchup_dead_retry: dead letters through their consumer again.
 *
 * No thread is started. The consumer is opened as a follower on the calling thread, and each letter
 * has a transaction of its own: the letter goes, the row is processed, and both commit. The watermark
 * has passed the row long ago and is not touched, so a process that runs the consumer meanwhile only
 * meets one more writer.
 *
 * A row may end the process. So a commit before that transaction says that its letter is in hand, and who
 * finds one so that was not there to try it passes over it, unless it was asked for by its id. Somebody else
 * who is alive has the letter in hand for as long as its transaction takes: a letter that was in hand when the
 * letters were listed, and still is when the write lock is free, was left by one who died. (Or by one who is
 * just between its commits. It deals with the letter, and passing over it does no harm.)
 */
#include "pool/perform/perform.h"

#include "base/error.h"
#include "changelog/line.h"
#include "store/ledger/letters.h"

#include <stdlib.h>

struct retry {
	struct cu_follower *f;
	struct cu_mapped_row mapped; /* the row in hand, of a consumer with `map` */
	struct catchup_dead_result *result;
	struct cu_line_parser parser;
	bool knowingly; /* also one that may have ended a process */
};

/* As patient as the options say: for a plan, which sees to other things meanwhile, a connection waits for
 * moments only. */
static int begin(struct cu_follower *f, struct catchup_error *error)
{
	int64_t until_ns = cu_deadline(
		cu_os_now_ns(), (int64_t)f->runtime->options.busy_ms * CU_NS_PER_MS);
	int rc;

	do
		rc = cu_conn_begin(f->writer, error);
	while (rc == CATCHUP_LOCKED && cu_os_now_ns() < until_ns);
	return rc;
}

/* ---- one row ----------------------------------------------------------------------------------- */

enum outcome { DONE, GONE, TAKEN, BEHIND, HELD, FAILED };

/* A row that `map` has seen, before the transaction. */
static bool deliver_mapped(struct retry *r, struct cu_event *event)
{
	bool told;

	r->f->mapped = &r->mapped;
	told = cu_perform_deliver(r->f, event);
	r->f->mapped = NULL;
	return told;
}

static void discard_mapped(struct retry *r)
{
	void (*discard)(void *) = r->f->definition->table.discard;

	if (discard && r->mapped.result)
		discard(r->mapped.result);
	free(r->mapped.text);
	r->mapped = (struct cu_mapped_row){0};
}

/* An event as it was kept. One that is damaged has failed like a row: the others are tried. */
static bool deliver_kept(struct retry *r, const struct catchup_dead_letter *letter, struct cu_event *event)
{
	struct cu_follower *f = r->f;
	struct cu_change change = {.kind = CU_CHANGE_EVENT, .sequence = letter->id};
	struct cu_line line;
	void *memory;
	bool told;
	int rc = cu_line_parse(&r->parser, letter->event, letter->event_bytes, &line, &f->fault);

	if (rc != CATCHUP_OK) {
		if (rc != CATCHUP_NOMEM)
			f->fault.code = CATCHUP_CONSUMER;
		cu_error_prefix(&f->fault, "the event in the dead letter is damaged: ");
		return cu_perform_fault(f, event, rc != CATCHUP_NOMEM, letter->id);
	}
	memory = malloc(cu_line_event_bytes(&line));
	if (!memory) {
		cu_error_nomem(&f->fault);
		return cu_perform_fault(f, event, false, 0);
	}
	change.event = *cu_line_event(&line, memory);
	f->change = &change;
	told = cu_perform_deliver(f, event);
	f->change = NULL;
	free(memory);
	return told;
}

/* Whether the row is still there; then it is in hand. False also for a fault, which the event then is. */
static bool fetch_row(struct cu_follower *f, int64_t id, struct cu_event *event)
{
	struct cu_source *rows = cu_perform_rows(f);

	cu_source_fetch_end(rows);
	cu_source_fetch_begin(rows, id - 1, id);
	if (cu_source_fetch_next(rows, &event->id, &f->fault) == CATCHUP_OK)
		return event->id != 0;
	cu_perform_fault(f, event, false, 0);
	return false;
}

/* Calls the consumer's function for one row. False: the row is no longer there. */
static bool process(struct retry *r, const struct catchup_dead_letter *letter, struct cu_event *event)
{
	struct cu_follower *f = r->f;
	int64_t id = letter->id;
	const struct cu_action one = {.lo = id - 1, .hi = id};
	bool set = f->definition->table.range != NULL;

	f->plan.row = id;
	if (f->definition->table.event)
		return deliver_kept(r, letter, event);
	/* Where the ids of a set come from a query of the consumer's own, nobody can look for one. */
	if ((!set || cu_perform_has_table(f)) && !fetch_row(f, id, event))
		return event->kind == CU_EVENT_FAULT;
	if (!f->mapper && !set)
		return cu_perform_deliver(f, event);
	cu_source_fetch_end(cu_perform_rows(f));
	return set ? cu_perform_apply(f, &one, event) : deliver_mapped(r, event);
}

/* The row and the functions round a batch of one. False: the row is no longer there. */
static bool process_batch(struct retry *r, const struct catchup_dead_letter *letter,
	struct cu_event *event)
{
	struct cu_follower *f = r->f;
	int64_t id = letter->id;
	const struct catchup_consumer *table = &f->definition->table;

	if (cu_perform_call_batch(f, "batch_begin", table->batch_begin) == CATCHUP_ROW_FAILED)
		return cu_perform_fault(f, event, true, id);
	if (!process(r, letter, event))
		return false;
	if (event->kind != CU_EVENT_FAULT &&
		cu_perform_call_batch(f, "batch_end", table->batch_end) == CATCHUP_ROW_FAILED)
		return cu_perform_fault(f, event, true, id);
	return true;
}

/* Inside the transaction in hand. CATCHUP_OK with *outcome; else what cannot be the row's fault. */
static int try_letter(struct retry *r, const struct catchup_dead_letter *letter, enum outcome *outcome)
{
	struct cu_follower *f = r->f;
	struct cu_event event = {0};
	bool removed, there;
	int rc;

	*outcome = TAKEN;
	rc = cu_letters_remove(f->writer, f->definition->name, letter->id, &removed, &f->fault);
	if (rc != CATCHUP_OK || !removed)
		return rc;
	/* Others wait for the write lock: a statement that never ends has failed, as in a batch. */
	cu_conn_limit(f->writer, cu_perform_limit_ns(f));
	there = process_batch(r, letter, &event);
	cu_conn_limit(f->writer, CU_FOREVER);
	if (!there) {
		*outcome = GONE;
		return CATCHUP_OK;
	}
	if (event.kind != CU_EVENT_FAULT) {
		*outcome = DONE;
		return CATCHUP_OK;
	}
	*outcome = FAILED;
	return event.fault == CU_FAULT_ROW || event.fault == CU_FAULT_SLOW ? CATCHUP_OK
									   : f->fault.code;
}

/* Inside the transaction in hand: FAILED, until something better is known, when the letter is to be tried. */
static int take_in_hand(struct retry *r, const struct catchup_dead_letter *letter, enum outcome *outcome)
{
	struct cu_follower *f = r->f;
	const char *name = f->definition->name;
	bool waits, in_hand = false, marked;
	int rc;

	/* Order within a key is kept, whichever letters are asked for. */
	*outcome = BEHIND;
	rc = cu_letters_waits(f->writer, name, letter->id, &waits, &f->fault);
	if (rc != CATCHUP_OK || waits)
		return rc;
	if (!r->knowingly)
		rc = cu_letters_in_hand(f->writer, name, letter->id, &in_hand, &f->fault);
	*outcome = letter->in_hand ? HELD : TAKEN;
	if (rc != CATCHUP_OK || in_hand)
		return rc;
	rc = cu_letters_mark(f->writer, name, letter->id, &marked, &f->fault);
	if (rc == CATCHUP_OK)
		rc = cu_conn_commit(f->writer, &f->fault);
	*outcome = marked ? FAILED : TAKEN;
	return rc;
}

/* Its row was not processed, for no fault of its own. Where this fails, too, the letter is passed over the
 * next time, and said to be. */
static void put_back(struct cu_follower *f, int64_t id)
{
	struct catchup_error unwanted;

	if (begin(f, &unwanted) == CATCHUP_OK &&
		cu_letters_mark_back(f->writer, f->definition->name, id, &unwanted) == CATCHUP_OK)
		cu_conn_commit(f->writer, &unwanted);
	cu_conn_rollback(f->writer);
}

/* In a transaction of its own: between the one that failed and this one another process may have dealt with
 * the letter, and a row that was processed there must not get a letter again. */
static int keep_failure(struct cu_follower *f, int64_t id, enum outcome *outcome)
{
	bool kept = false;
	int rc = begin(f, &f->fault);

	if (rc == CATCHUP_OK)
		rc = cu_letters_failed_again(
			f->writer, f->definition->name, id, &f->row_fault, &kept, &f->fault);
	if (rc == CATCHUP_OK)
		rc = cu_conn_commit(f->writer, &f->fault);
	cu_conn_rollback(f->writer);
	if (rc == CATCHUP_OK && !kept)
		*outcome = TAKEN;
	return rc;
}

/* A letter that is in hand. */
static int process_letter(struct retry *r, const struct catchup_dead_letter *letter, enum outcome *outcome)
{
	struct cu_follower *f = r->f;
	int rc = CATCHUP_OK;

	r->mapped.id = letter->id;
	if (f->mapper)
		rc = cu_mapper_map_again(f->mapper, &r->mapped, &f->fault);
	if (rc == CATCHUP_OK)
		rc = begin(f, &f->fault);
	if (rc == CATCHUP_OK)
		rc = try_letter(r, letter, outcome);
	discard_mapped(r);
	cu_source_fetch_end(cu_perform_rows(f));
	if (rc == CATCHUP_OK && (*outcome == DONE || *outcome == GONE)) {
		rc = cu_conn_commit(f->writer, &f->fault);
		/* A constraint that is checked at the commit is the row's. */
		if (rc == CATCHUP_CONSUMER) {
			f->row_fault = f->fault;
			*outcome = FAILED;
			rc = CATCHUP_OK;
		}
	}
	cu_conn_rollback(f->writer);
	if (rc == CATCHUP_OK && *outcome == FAILED)
		rc = keep_failure(f, letter->id, outcome);
	if (rc != CATCHUP_OK)
		put_back(f, letter->id);
	return rc;
}

static int retry_letter(struct retry *r, const struct catchup_dead_letter *letter)
{
	struct cu_follower *f = r->f;
	enum outcome outcome = TAKEN;
	int rc = begin(f, &f->fault);

	if (rc == CATCHUP_OK)
		rc = take_in_hand(r, letter, &outcome);
	cu_conn_rollback(f->writer);
	if (rc == CATCHUP_OK && outcome == FAILED)
		rc = process_letter(r, letter, &outcome);
	if (rc != CATCHUP_OK)
		return rc;
	r->result->behind += outcome == BEHIND;
	r->result->held += outcome == HELD;
	r->result->done += outcome == DONE;
	r->result->gone += outcome == GONE;
	r->result->failed += outcome == FAILED;
	r->result->tried += outcome == DONE || outcome == GONE || outcome == FAILED;
	return CATCHUP_OK;
}

static int retry_all(struct retry *r, int64_t id)
{
	struct cu_follower *f = r->f;
	struct catchup_dead_letters *letters = cu_letters_create();
	int rc = letters ? cu_letters_read(letters, f->writer, f->definition->name, id, &f->fault)
			 : cu_error_nomem(&f->fault);

	/* In the order of their ids. */
	for (size_t i = 0; rc == CATCHUP_OK && i < letters->n; i++) {
		if (f->definition->table.event && !letters->letters[i].event)
			r->result->unkept++;
		else
			rc = retry_letter(r, &letters->letters[i]);
	}
	cu_line_parser_finish(&r->parser);
	catchup_dead_free(letters);
	return rc;
}

/* ---- one consumer -------------------------------------------------------------------------------- */

static int retry_follower(struct cu_follower *f, int64_t id, struct catchup_dead_result *result,
	struct catchup_error *error)
{
	const struct cu_action open = {.kind = CU_ACTION_OPEN};
	struct retry r = {.f = f, .result = result, .knowingly = id != 0};
	struct cu_event event;
	int rc;

	f->only_letters = true;
	cu_follower_perform(f, &open, &event);
	if (event.kind == CU_EVENT_FAULT) {
		if (error)
			*error = f->fault;
		return f->fault.code;
	}
	/* Letters are tried because their keys are parked: that must not park them again. */
	f->policy.key[0] = '\0';
	/* There is no plan; a row that is tried alone may take as long as one in a batch. */
	f->plan.config.batch_ns = (int64_t)f->runtime->options.batch_ms * CU_NS_PER_MS;
	/* It may have run last under a version that made less of them. */
	rc = cu_ledger_create_tables(f->writer, &f->fault);
	/* Rows of the same ids are others there. */
	if (rc == CATCHUP_OK)
		rc = cu_setup_check_source(f, f->writer, &f->fault);
	if (rc == CATCHUP_OK)
		rc = retry_all(&r, id);
	if (rc != CATCHUP_OK && error)
		*error = f->fault;
	cu_follower_close(f);
	return rc;
}

static int retry_entry(const struct catchup_options *options, const struct cu_entry *entry,
	int64_t id, struct catchup_dead_result *result, struct catchup_error *error)
{
	struct catchup *c = NULL;
	int rc;

	if (!entry->spec)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"consumer '%.200s' is linked into the program that runs it and cannot be run here",
			entry->name);
	rc = catchup_open(options, &c, error);
	if (rc == CATCHUP_OK)
		rc = cu_runtime_add_known(c, entry->name, entry->spec, entry->into, error);
	if (rc == CATCHUP_OK)
		rc = cu_layout_files(c, error);
	if (rc == CATCHUP_OK)
		rc = retry_follower(c->followers[0], id, result, error);
	if (rc != CATCHUP_OK)
		cu_error_prefix(error, "consumer '%.200s': ", entry->name);
	catchup_close(c);
	return rc;
}

static int has_letters(const char *database, const struct cu_entry *entry, int64_t id, bool *has,
	struct catchup_error *error)
{
	struct catchup_dead_letters *letters;
	int rc = catchup_dead_read(database, entry->name, id, &letters, error);

	*has = rc == CATCHUP_OK && letters->n > 0;
	catchup_dead_free(letters);
	return rc;
}

/* Whether the letters of other consumers may do better. */
static bool concerns_one_consumer(int code)
{
	return code != CATCHUP_LOCKED && code != CATCHUP_FULL && code != CATCHUP_IO && code != CATCHUP_NOMEM;
}

int catchup_dead_retry(const struct catchup_options *options, const char *consumer, int64_t id,
	struct catchup_dead_result *result, struct catchup_error *error)
{
	struct cu_entries entries = {0};
	struct catchup_error why;
	char *path = NULL;
	bool has;
	int rc, one;

	if (!result)
		return cu_error_null(error, __func__, "result");
	*result = (struct catchup_dead_result){0};
	if (!options || !options->database)
		return cu_error_set(error, CATCHUP_USAGE, 0, "option 'database' is missing");
	rc = cu_letters_consumers(options->database, consumer, &path, &entries, error);
	for (size_t i = 0; i < entries.n && (rc == CATCHUP_OK || concerns_one_consumer(rc)); i++) {
		one = has_letters(path, &entries.items[i], id, &has, &why);
		if (one == CATCHUP_OK && has)
			one = retry_entry(options, &entries.items[i], id, result, &why);
		if (one == CATCHUP_OK || (rc != CATCHUP_OK && concerns_one_consumer(one)))
			continue;
		rc = one;
		if (error)
			*error = why;
	}
	cu_entries_finish(&entries);
	free(path);
	return rc;
}
