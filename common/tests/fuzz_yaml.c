/* SPDX-License-Identifier: MIT */
/*
 * fuzz_yaml - the configuration file: whatever it holds is either refused
 * with one line that names it, or entries whose values the option table can
 * judge.
 */
#include "common/config_option.h"
#include "common/error.h"
#include "common/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool condition)
{
	if (!condition)
		abort();
}

static void
judge(const struct yaml_entry *entry)
{
	static struct settings settings;
	const char *name;
	char expected[160];
	const struct option *option = option_find(entry->key, &name);

	expect(*entry->key != '\0');
	if (option == NULL) {
		(void)option_nearest(entry->key);
		(void)option_is_section(entry->key);
		return;
	}
	(void)option_read(option, entry->value, &settings);
	(void)option_is_public(option, name, entry->value);
	option_expects(option, expected, sizeof(expected));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_map yaml;
	struct error err;

	if (yaml_map_parse("f", (const char *)data, size, &yaml, &err) != 0) {
		expect(err.kind == ERROR_CONFIG_INVALID);
		expect(strncmp(err.msg, "f:", 2) == 0);
		return 0;
	}
	for (size_t i = 0; i < yaml.count; i++)
		judge(&yaml.entries[i]);
	yaml_map_free(&yaml);
	return 0;
}
