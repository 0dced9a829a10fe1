/* SPDX-License-Identifier: MIT */
#include "picture.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* All in pixels of the picture. */
#define PANEL_WIDTH 460
#define PANEL_HEIGHT 270
#define TOP 74       /* title and subtitle */
#define MARGIN 18    /* round the panels */
#define PLOT_LEFT 72 /* of a panel's left edge */
#define PLOT_TOP 34
#define PLOT_WIDTH (PANEL_WIDTH - PLOT_LEFT - 34)
#define PLOT_HEIGHT (PANEL_HEIGHT - PLOT_TOP - 52)

static const char style[] =
	"<style>\n"
	"text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:12px;"
	"fill:#424a53}\n"
	".card{fill:#ffffff;stroke:#d0d7de}\n"
	".title{font-size:19px;font-weight:600;fill:#1f2328}\n"
	".panel{font-size:14px;font-weight:600;fill:#1f2328}\n"
	".grid{stroke:#e3e7eb;stroke-width:1}\n"
	".axis{stroke:#8c959f;stroke-width:1}\n"
	".line0{fill:none;stroke:#0969da;stroke-width:2.5;stroke-linejoin:round}\n"
	".line1{fill:none;stroke:#bc4c00;stroke-width:2;stroke-dasharray:6 4;stroke-linejoin:round}\n"
	".dot0{fill:#0969da;stroke:#ffffff;stroke-width:1.5}\n"
	".dot1{fill:#bc4c00;stroke:#ffffff;stroke-width:1.5}\n"
	".name0{font-weight:600;fill:#0969da}\n"
	".name1{font-weight:600;fill:#bc4c00}\n"
	"@media (prefers-color-scheme:dark){\n"
	"text{fill:#b1bac4}\n"
	".card{fill:#0d1117;stroke:#30363d}\n"
	".title,.panel{fill:#f0f6fc}\n"
	".grid{stroke:#232a33}\n"
	".axis{stroke:#6e7681}\n"
	".line0{stroke:#58a6ff}.dot0{fill:#58a6ff;stroke:#0d1117}.name0{fill:#58a6ff}\n"
	".line1{stroke:#f0883e}.dot1{fill:#f0883e;stroke:#0d1117}.name1{fill:#f0883e}\n"
	"}\n"
	"</style>\n";

const char *picture_short(char *to, size_t bytes, double value)
{
	if (value >= 999500)
		snprintf(to, bytes, "%.3g M", value / 1e6);
	else if (value >= 10000)
		snprintf(to, bytes, "%.3g k", value / 1e3);
	else if (value >= 1000)
		snprintf(to, bytes, "%.0f,%03.0f", floor(value / 1000), fmod(value, 1000));
	else
		snprintf(to, bytes, "%.3g", value);
	return to;
}

void picture_fit(struct picture_panel *panel, int first, int last)
{
	panel->y_decades[0] = first;
	panel->y_decades[1] = last;
	for (size_t s = 0; s < PICTURE_SERIES_MAX; s++) {
		for (size_t i = 0; i < panel->series[s].n; i++) {
			double y = log10(panel->series[s].points[i].y);

			if (y < panel->y_decades[0])
				panel->y_decades[0] = (int)floor(y);
			if (y > panel->y_decades[1])
				panel->y_decades[1] = (int)ceil(y);
		}
	}
}

/* Text in XML. */
static void put(const char *text, FILE *to)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", to);
		else if (*text == '&')
			fputs("&amp;", to);
		else
			fputc(*text, to);
	}
}

static double x_of(const struct picture_panel *p, double x)
{
	return PLOT_LEFT + (log10(x) - p->x_decades[0]) / (p->x_decades[1] - p->x_decades[0]) *
				   PLOT_WIDTH;
}

static double y_of(const struct picture_panel *p, double y)
{
	return PLOT_TOP + PLOT_HEIGHT - (log10(y) - p->y_decades[0]) /
						(p->y_decades[1] - p->y_decades[0]) * PLOT_HEIGHT;
}

static void axes(const struct picture_panel *p, FILE *to)
{
	char text[32];

	for (int d = p->x_decades[0]; d <= p->x_decades[1]; d++) {
		double x = x_of(p, pow(10, d));

		fprintf(to, "<path class=\"grid\" d=\"M%.1f %dv%d\"/>", x, PLOT_TOP, PLOT_HEIGHT);
		fprintf(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x,
			PLOT_TOP + PLOT_HEIGHT + 18, picture_short(text, sizeof(text), pow(10, d)));
	}
	for (int d = p->y_decades[0]; d <= p->y_decades[1]; d++) {
		double y = y_of(p, pow(10, d));

		fprintf(to, "<path class=\"grid\" d=\"M%d %.1fh%d\"/>", PLOT_LEFT, y, PLOT_WIDTH);
		fprintf(to, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			PLOT_LEFT - 8, y + 4, picture_short(text, sizeof(text), pow(10, d)));
	}
	fprintf(to, "<path class=\"axis\" d=\"M%d %dv%dh%d\" fill=\"none\"/>\n", PLOT_LEFT, PLOT_TOP,
		PLOT_HEIGHT, PLOT_WIDTH);
	fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", PLOT_LEFT + PLOT_WIDTH / 2,
		PLOT_TOP + PLOT_HEIGHT + 38);
	put(p->x_label, to);
	fprintf(to, "</text>\n<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\">",
		PLOT_TOP + PLOT_HEIGHT / 2);
	put(p->y_label, to);
	fprintf(to, "</text>\n<text class=\"panel\" x=\"%d\" y=\"%d\">", PLOT_LEFT, PLOT_TOP - 12);
	put(p->title, to);
	fputs("</text>\n", to);
}

static void curve(const struct picture_panel *p, size_t which, FILE *to)
{
	const struct picture_series *s = &p->series[which];

	fprintf(to, "<polyline class=\"line%zu\" points=\"", which);
	for (size_t i = 0; i < s->n; i++)
		fprintf(to, "%.1f,%.1f ", x_of(p, s->points[i].x), y_of(p, s->points[i].y));
	fputs("\"/>\n", to);
	for (size_t i = 0; i < s->n; i++) {
		char x[32], y[32];

		/* A pointer on a dot shows its numbers. */
		fprintf(to, "<circle class=\"dot%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s: %s"
			"</title></circle>\n", which, x_of(p, s->points[i].x),
			y_of(p, s->points[i].y), picture_short(x, sizeof(x), s->points[i].x),
			picture_short(y, sizeof(y), s->points[i].y));
	}
}

/* The last value of our curve stands beside its last dot, on the side where the curve is not. */
static void last_value(const struct picture_panel *p, FILE *to)
{
	const struct picture_series *s = &p->series[0];
	const struct picture_point *last = &s->points[s->n - 1];
	bool falls = s->n > 1 && last[-1].y > last->y;
	char text[32];

	fprintf(to, "<text class=\"name0\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
		x_of(p, last->x) + 4, y_of(p, last->y) + (falls ? 20 : -10),
		picture_short(text, sizeof(text), last->y));
}

/* Names in the lower or upper corner where the curves are not. */
static void names(const struct picture_panel *p, FILE *to)
{
	double middle = PLOT_TOP + PLOT_HEIGHT / 2.0;
	bool curves_above = y_of(p, p->series[0].points[0].y) < middle;
	int y = curves_above ? PLOT_TOP + PLOT_HEIGHT - 14 : PLOT_TOP + 18;
	int x = PLOT_LEFT + 14;

	for (size_t s = 0; s < PICTURE_SERIES_MAX; s++) {
		if (p->series[s].n == 0)
			continue;
		fprintf(to, "<path class=\"line%zu\" d=\"M%d %dh26\"/>", s, x, y - 4);
		fprintf(to, "<text class=\"name%zu\" x=\"%d\" y=\"%d\">", s, x + 34, y);
		put(p->series[s].name, to);
		fputs("</text>\n", to);
		x += 60 + 8 * (int)strlen(p->series[s].name);
	}
}

int picture_write(struct bench *b, const char *path, const char *title, const char *subtitle,
	const struct picture_panel *panels, size_t n)
{
	int width = 2 * MARGIN + 2 * PANEL_WIDTH;
	int height = TOP + (int)((n + 1) / 2) * PANEL_HEIGHT + MARGIN;
	FILE *to = fopen(path, "we");

	if (!to)
		return bench_fail(b, "cannot write '%s': %s", path, strerror(errno));
	fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
		"height=\"%d\" role=\"img\" aria-label=\"", width, height, width, height);
	put(title, to);
	fputs("\">\n", to);
	fputs(style, to);
	fprintf(to, "<rect class=\"card\" x=\".5\" y=\".5\" width=\"%d\" height=\"%d\" rx=\"10\"/>\n",
		width - 1, height - 1);
	fprintf(to, "<text class=\"title\" x=\"%d\" y=\"34\">", MARGIN + 18);
	put(title, to);
	fprintf(to, "</text>\n<text x=\"%d\" y=\"56\">", MARGIN + 18);
	put(subtitle, to);
	fputs("</text>\n", to);
	for (size_t i = 0; i < n; i++) {
		fprintf(to, "<g transform=\"translate(%d %d)\">\n",
			MARGIN + (int)(i % 2) * PANEL_WIDTH, TOP + (int)(i / 2) * PANEL_HEIGHT);
		axes(&panels[i], to);
		for (size_t s = PICTURE_SERIES_MAX; s-- > 0;)
			if (panels[i].series[s].n > 0)
				curve(&panels[i], s, to);
		last_value(&panels[i], to);
		names(&panels[i], to);
		fputs("</g>\n", to);
	}
	fputs("</svg>\n", to);
	if (ferror(to) || fclose(to) != 0)
		return bench_fail(b, "cannot write '%s'", path);
	return 0;
}
