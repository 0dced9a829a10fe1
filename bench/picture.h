/* SPDX-License-Identifier: MIT */
/*
 * picture.h - curves as an SVG picture: panels beside and below each other, both axes logarithmic, in
 * light or dark as the reader's system is.
 */
#ifndef BENCH_PICTURE_H
#define BENCH_PICTURE_H

#include "bench.h"

#define PICTURE_POINTS_MAX 16
#define PICTURE_SERIES_MAX 2

struct picture_point {
	double x, y; /* above 0 */
};

struct picture_series {
	const char *name;
	struct picture_point points[PICTURE_POINTS_MAX];
	size_t n;
};

struct picture_panel {
	const char *title;
	const char *x_label, *y_label;
	int x_decades[2], y_decades[2]; /* from 10^a to 10^b */
	struct picture_series series[PICTURE_SERIES_MAX]; /* the first is ours, the second a yardstick */
};

/* Writes the panels, two in a row. Returns 0, or -1 after bench_fail. */
int picture_write(struct bench *b, const char *path, const char *title, const char *subtitle,
	const struct picture_panel *panels, size_t n);

/* 10^exponent, or another number, as an axis shows it: 100, 10 k, 1 M. */
const char *picture_short(char *to, size_t bytes, double value);

/* The decades that hold all points, at least `least` of them from `first` on. */
void picture_fit(struct picture_panel *panel, int first, int last);

#endif
