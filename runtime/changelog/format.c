/* SPDX-License-Identifier: MIT */
/*
 * format.c - an event as a changelog line.
 *
 * Byte for byte what Go's encoding/json makes of the same event, apart from doubles that are whole
 * numbers: they get a ".0" behind, so that they are read back as doubles.
 */
#include <catchup/changelog.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pieces {
	int (*write)(void *context, const char *piece, size_t bytes);
	void *context;
	int rc; /* other than 0: the writer wants no more */
	size_t n;
	char buffer[512];
};

static void flush(struct pieces *out)
{
	if (out->n > 0 && out->rc == 0)
		out->rc = out->write(out->context, out->buffer, out->n);
	out->n = 0;
}

static void put(struct pieces *out, const char *bytes, size_t n)
{
	if (n > sizeof(out->buffer) - out->n)
		flush(out);
	if (n > sizeof(out->buffer)) {
		if (out->rc == 0)
			out->rc = out->write(out->context, bytes, n);
		return;
	}
	memcpy(out->buffer + out->n, bytes, n);
	out->n += n;
}

static void put_text(struct pieces *out, const char *text)
{
	put(out, text, strlen(text));
}

/* What stands for a byte inside a string, "" for itself. E2 begins U+2028 and U+2029. */
static const char *escape(const char *p, size_t left, char *room, size_t *take)
{
	unsigned char c = (unsigned char)*p;

	*take = 1;
	switch (c) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	case 0xe2:
		if (left < 3 || (unsigned char)p[1] != 0x80 || ((unsigned char)p[2] & 0xfe) != 0xa8)
			return "";
		*take = 3;
		return (unsigned char)p[2] == 0xa8 ? "\\u2028" : "\\u2029";
	default:
		if (c >= 0x20 && c != '<' && c != '>' && c != '&')
			return "";
		snprintf(room, 8, "\\u%04x", c);
		return room;
	}
}

static void put_string(struct pieces *out, const char *text, size_t n)
{
	size_t plain = 0; /* bytes before i that stand for themselves and are not put yet */
	size_t i = 0;

	put(out, "\"", 1);
	while (i < n) {
		char room[8];
		size_t take;
		const char *instead = escape(text + i, n - i, room, &take);

		if (*instead) {
			put(out, text + i - plain, plain);
			put_text(out, instead);
			plain = 0;
		} else {
			plain += take;
		}
		i += take;
	}
	put(out, text + n - plain, plain);
	put(out, "\"", 1);
}

/* The shortest digits that read back as the same double, with '.' whatever the locale says. */
static void put_double(struct pieces *out, double value)
{
	char text[40];
	char *end;
	bool whole = true;

	for (int precision = 15; precision <= 17; precision++) {
		snprintf(text, sizeof(text), "%.*g", precision, value);
		if (strtod(text, NULL) == value)
			break;
	}
	end = text;
	for (const char *p = text; *p; p++) {
		if (!strchr("0123456789+-e", *p)) {
			/* The locale's decimal point, perhaps of several bytes. */
			if (end > text && end[-1] != '.')
				*end++ = '.';
		} else {
			*end++ = *p;
		}
		whole = whole && strchr("0123456789-", *p);
	}
	put(out, text, (size_t)(end - text));
	if (whole)
		put(out, ".0", 2);
}

static void put_int(struct pieces *out, int64_t value)
{
	char text[24];

	put(out, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, value));
}

static void put_value(struct pieces *out, const struct catchup_key *key)
{
	switch (key->kind) {
	case CATCHUP_KEY_BOOL:
		put_text(out, key->integer ? "true" : "false");
		break;
	case CATCHUP_KEY_INT:
		put_int(out, key->integer);
		break;
	case CATCHUP_KEY_DOUBLE:
		put_double(out, key->real);
		break;
	case CATCHUP_KEY_TEXT:
		put_string(out, key->text, key->text_bytes);
		break;
	default:
		put_text(out, "null");
	}
}

static bool is_whole(const struct catchup_event *event)
{
	if (!event || !event->family || !event->table || (!event->keys && event->n_keys > 0))
		return false;
	for (size_t i = 0; i < event->n_keys; i++) {
		const struct catchup_key *key = &event->keys[i];

		if (!key->name || !key->type ||
			(key->kind == CATCHUP_KEY_TEXT && !key->text && key->text_bytes > 0))
			return false;
	}
	return true;
}

int catchup_event_write(const struct catchup_event *event,
	int (*write)(void *context, const char *piece, size_t bytes), void *context)
{
	struct pieces out = {.write = write, .context = context};

	if (!write || !is_whole(event))
		return -1;
	put_text(&out, "{\"seq\":");
	put_int(&out, event->sequence);
	put_text(&out, ",\"family\":");
	put_string(&out, event->family, strlen(event->family));
	put_text(&out, ",\"table\":");
	put_string(&out, event->table, strlen(event->table));
	put_text(&out, ",\"key\":[");
	for (size_t i = 0; i < event->n_keys && out.rc == 0; i++) {
		const struct catchup_key *key = &event->keys[i];

		put_text(&out, i ? ",{\"name\":" : "{\"name\":");
		put_string(&out, key->name, strlen(key->name));
		put_text(&out, ",\"type\":");
		put_string(&out, key->type, strlen(key->type));
		put_text(&out, ",\"value\":");
		put_value(&out, key);
		put_text(&out, "}");
	}
	put_text(&out, "]}");
	flush(&out);
	return out.rc;
}

struct into {
	char *to;
	size_t bytes;
	size_t n; /* of the whole line so far */
};

static int write_into(void *context, const char *piece, size_t bytes)
{
	struct into *into = context;

	/* The last byte is for the NUL. */
	if (into->n + 1 < into->bytes) {
		size_t room = into->bytes - 1 - into->n;

		memcpy(into->to + into->n, piece, bytes < room ? bytes : room);
	}
	into->n += bytes;
	return 0;
}

size_t catchup_event_format(const struct catchup_event *event, char *to, size_t bytes)
{
	struct into into = {.to = to, .bytes = to ? bytes : 0};

	catchup_event_write(event, write_into, &into);
	if (into.bytes > 0)
		to[into.n < into.bytes ? into.n : into.bytes - 1] = '\0';
	return into.n;
}

const char *catchup_sync_reason_name(int reason)
{
	switch (reason) {
	case CATCHUP_SYNC_GAP:
		return "gap";
	case CATCHUP_SYNC_OVERFLOW:
		return "overflow";
	case CATCHUP_SYNC_LOST_FILE:
		return "lost-file";
	case CATCHUP_SYNC_START:
		return "start";
	default:
		return "unknown";
	}
}
