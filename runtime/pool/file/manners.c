/* SPDX-License-Identifier: MIT */
#include "pool/file/manners.h"

/* So many gaps that nobody used mean that nobody is there. */
#define EMPTY_GAPS 3u

/* Free for this long by itself: whoever was waiting had a chance. */
#define IDLE_NS INT64_C(1000000)

/* Who commits twice within this time is waited for, even where nobody has the file open. */
#define COMES_BACK_NS INT64_C(1000000000)

/* Who committed within this time may come again at any moment. */
#define LATELY_NS INT64_C(2000000000)

/* Four times as long after each gap that nobody used. */
static int64_t polite_hold_ns(const struct cu_manners *m)
{
	return CU_MANNERS_HOLD_NS << (2 * m->empty_gaps);
}

static void be_polite(struct cu_manners *m)
{
	m->polite = true;
	m->empty_gaps = 0;
	m->probe_after_ns = CU_MANNERS_PROBE_FIRST_NS;
}

static void be_alone(struct cu_manners *m)
{
	m->polite = false;
	m->met = false;
	m->comes_back = false;
}

/* Others have committed. */
static void meet(struct cu_manners *m, int64_t now_ns)
{
	be_polite(m);
	m->met = true;
	m->comes_back = m->met_ns != 0 && now_ns - m->met_ns < COMES_BACK_NS;
	m->met_ns = now_ns;
}

static bool met_lately(const struct cu_manners *m, int64_t now_ns)
{
	return m->met_ns != 0 && now_ns - m->met_ns < LATELY_NS;
}

/* The longer somebody may have waited since the last gap, the longer are his pauses. */
static int64_t probe_ns(const struct cu_manners *m, int64_t now_ns)
{
	int64_t ns = m->probe_after_ns / 8;

	if (met_lately(m, now_ns))
		return CU_MANNERS_GAP_NS;
	if (ns < CU_MANNERS_PROBE_SHORTEST_NS)
		return CU_MANNERS_PROBE_SHORTEST_NS;
	return ns < CU_MANNERS_PROBE_LONGEST_NS ? ns : CU_MANNERS_PROBE_LONGEST_NS;
}

void cu_manners_begin(struct cu_manners *m, int64_t now_ns, bool foreign)
{
	if (m->free_since_ns == 0) {
		/* Whether others write cannot be known yet: the first batches are short. */
		be_polite(m);
	} else if (foreign) {
		meet(m, now_ns);
		m->held_ns = 0;
	} else if (now_ns - m->free_since_ns >= IDLE_NS) {
		m->held_ns = 0;
	}
}

int64_t cu_manners_hold_ns(const struct cu_manners *m, int64_t batch_ns)
{
	return m->polite && batch_ns > polite_hold_ns(m) ? polite_hold_ns(m) : batch_ns;
}

bool cu_manners_asks(const struct cu_manners *m, int64_t held_ns)
{
	held_ns += m->held_ns;
	return m->polite ? !m->comes_back && held_ns >= polite_hold_ns(m)
			 : held_ns >= m->probe_after_ns;
}

void cu_manners_leave(struct cu_manners *m, int64_t now_ns, int64_t held_ns)
{
	m->held_ns += held_ns;
	m->free_since_ns = now_ns;
}

int64_t cu_manners_rest_ns(struct cu_manners *m, int64_t now_ns, int64_t held_ns, bool others_open)
{
	cu_manners_leave(m, now_ns, held_ns);
	if (m->polite) {
		if (m->held_ns < polite_hold_ns(m))
			return 0;
		if (m->comes_back || others_open)
			return CU_MANNERS_GAP_NS;
		/* Nobody has it open: there is nobody to be polite to, or no longer. */
		be_alone(m);
		m->held_ns = 0;
		return 0;
	}
	if (m->held_ns < m->probe_after_ns)
		return 0;
	if (others_open)
		return probe_ns(m, now_ns);
	m->held_ns = 0;
	return 0;
}

void cu_manners_rested(struct cu_manners *m, int64_t now_ns, bool used)
{
	m->held_ns = 0;
	m->free_since_ns = now_ns;
	if (used) {
		meet(m, now_ns);
	} else if (m->polite) {
		if (++m->empty_gaps >= EMPTY_GAPS)
			be_alone(m);
	} else if (m->probe_after_ns < CU_MANNERS_PROBE_LAST_NS && !met_lately(m, now_ns)) {
		m->probe_after_ns *= 2;
	}
}
