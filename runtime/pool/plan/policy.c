/* SPDX-License-Identifier: MIT */
#include "pool/plan/policy.h"

#include "base/os.h"

#include <string.h>

#define RETRIES_MAX 1000000
#define PAUSE_MS_MAX 86400000 /* a day */

static const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* Takes a word if it stands at *p and ends there. */
static bool take_word(const char **p, const char *word)
{
	size_t n = strlen(word);
	char after;

	if (strncmp(*p, word, n) != 0)
		return false;
	after = (*p)[n];
	if (after != '\0' && after != ' ' && after != '\t' && after != '(')
		return false;
	*p = skip_space(*p + n);
	return true;
}

static bool take_char(const char **p, char c)
{
	if (**p != c)
		return false;
	*p = skip_space(*p + 1);
	return true;
}

static bool take_number(const char **p, int64_t maximum, int64_t *out)
{
	int64_t n = 0;

	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		n = n * 10 + (**p - '0');
		if (n > maximum)
			return false;
	}
	*p = skip_space(*p);
	*out = n;
	return true;
}

static bool take_key(const char **p, char *key, size_t key_bytes)
{
	const char *end;
	size_t n;

	if (!take_char(p, '('))
		return false;
	end = strchr(*p, ')');
	if (!end)
		return false;
	n = (size_t)(end - *p);
	while (n > 0 && ((*p)[n - 1] == ' ' || (*p)[n - 1] == '\t'))
		n--;
	if (n == 0 || n >= key_bytes)
		return false;
	memcpy(key, *p, n);
	key[n] = '\0';
	*p = skip_space(end + 1);
	return true;
}

static bool take_end(const char **p, struct cu_policy *policy)
{
	if (take_word(p, "stop")) {
		policy->end = CU_POLICY_STOP;
		return true;
	}
	if (take_word(p, "park-key")) {
		policy->end = CU_POLICY_PARK;
		return take_key(p, policy->key, sizeof(policy->key));
	}
	if (take_word(p, "park")) {
		policy->end = CU_POLICY_PARK;
		return true;
	}
	return false;
}

static bool take_policy(const char *p, struct cu_policy *policy)
{
	int64_t times, base_ms, max_ms;

	p = skip_space(p);
	policy->careful = take_word(&p, "careful");
	if (policy->careful && *p == '\0')
		return true;
	if (take_word(&p, "retry")) {
		if (!take_char(&p, '(') || !take_number(&p, RETRIES_MAX, &times) ||
			!take_char(&p, ',') || !take_number(&p, PAUSE_MS_MAX, &base_ms) ||
			!take_char(&p, ',') || !take_number(&p, PAUSE_MS_MAX, &max_ms) ||
			!take_char(&p, ')') || max_ms < base_ms)
			return false;
		policy->retries = (uint32_t)times;
		policy->base_ns = base_ms * CU_NS_PER_MS;
		policy->max_ns = max_ms * CU_NS_PER_MS;
		if (*p == '\0')
			return true;
		take_char(&p, ',');
		take_word(&p, "then");
	}
	return take_end(&p, policy) && *p == '\0';
}

int cu_policy_parse(struct cu_policy *policy, const char *text, struct catchup_error *error)
{
	memset(policy, 0, sizeof(*policy));
	if (!text || text[0] == '\0' || take_policy(text, policy))
		return CATCHUP_OK;
	memset(policy, 0, sizeof(*policy));
	return cu_error_set(error, CATCHUP_USAGE, 0,
		"on-error '%.200s': must be stop, park, park-key(COLUMN), or retry(TIMES, BASE_MS, "
		"MAX_MS) then one of the others, each perhaps after the word careful; TIMES up to %d, "
		"BASE_MS up to MAX_MS, MAX_MS up to %d, COLUMN up to %d bytes",
		text, RETRIES_MAX, PAUSE_MS_MAX, (int)sizeof(policy->key) - 1);
}

int64_t cu_policy_pause_ns(int64_t base_ns, int64_t max_ns, uint32_t attempt, uint64_t random)
{
	int64_t pause = base_ns;

	if (pause < 1)
		return 0;
	for (uint32_t i = 1; i < attempt && pause < max_ns; i++)
		pause = pause > max_ns / 2 ? max_ns : pause * 2;
	if (pause > max_ns)
		pause = max_ns;
	return pause - (int64_t)(random % (uint64_t)(pause / 2 + 1));
}
