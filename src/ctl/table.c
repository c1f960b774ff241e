/*-------------------------------------------------------------------------
 *
 * table.c
 *      Rows and columns: a drawn table, separated values, objects.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

typedef struct Grid
{
	int n_columns;
	int n_rows;
	char **cells; /* of the columns' names, then row by row */
	int *widths;
	bool *is_right;
} Grid;

/* How many places of a terminal the first "length" bytes of a text take. */
static int
text_width(const char *text, size_t length)
{
	mbstate_t state;
	int width = 0;

	memset(&state, 0, sizeof(state));
	while (length > 0)
	{
		wchar_t c;
		size_t used = mbrtowc(&c, text, length, &state);

		if (used == 0 || used > length)
		{
			/* not a text of this locale: a byte is a place */
			used = 1;
			width++;
			memset(&state, 0, sizeof(state));
		}
		else
			width += wcwidth(c) > 0 ? wcwidth(c) : 0;
		text += used;
		length -= used;
	}
	return width;
}

static int
cell_width(const char *text)
{
	int width = 0;

	for (;;)
	{
		size_t length = strcspn(text, "\n");
		int line = text_width(text, length);

		if (line > width)
			width = line;
		if (text[length] == '\0')
			return width;
		text += length + 1;
	}
}

static int
cell_height(const char *text)
{
	int height = 1;

	for (; *text != '\0'; text++)
		height += *text == '\n';
	return height;
}

static void
grid_free(Grid *grid)
{
	for (int i = 0; grid->cells != NULL && i < (grid->n_rows + 1) * grid->n_columns; i++)
		free(grid->cells[i]);
	free(grid->cells);
	free(grid->widths);
	free(grid->is_right);
}

static bool
grid_make(Grid *grid, const json_t *columns, const char *align, const json_t *rows)
{
	size_t n_align = strlen(align);

	grid->n_columns = (int) json_array_size(columns);
	grid->n_rows = (int) json_array_size(rows);
	grid->cells =
		calloc((size_t) (grid->n_rows + 1) * (size_t) (grid->n_columns + 1), sizeof(char *));
	grid->widths = calloc((size_t) grid->n_columns + 1, sizeof(int));
	grid->is_right = calloc((size_t) grid->n_columns + 1, sizeof(bool));
	if (grid->cells == NULL || grid->widths == NULL || grid->is_right == NULL)
		return false;
	for (int row = 0; row <= grid->n_rows; row++)
	{
		const json_t *values = row == 0 ? columns : json_array_get(rows, (size_t) row - 1);

		for (int column = 0; column < grid->n_columns; column++)
		{
			const json_t *value = json_array_get(values, (size_t) column);
			char *cell = value == NULL ? strdup("") : format_plain(value);
			int width;

			if (cell == NULL)
				return false;
			grid->cells[row * grid->n_columns + column] = cell;
			width = cell_width(cell);
			if (width > grid->widths[column])
				grid->widths[column] = width;
			grid->is_right[column] = (size_t) column < n_align && align[column] == 'r';
		}
	}
	return true;
}

static void
write_repeated(FILE *out, char c, int count)
{
	for (int i = 0; i < count; i++)
		putc(c, out);
}

/* "+-----+----+", with the title over it; no line feed at the end. */
static void
write_rule(FILE *out, const Grid *grid, const char *title)
{
	char *text = NULL;
	size_t length = 0;
	FILE *line = open_memstream(&text, &length);
	size_t n_title = 0;
	int title_width = 0;

	if (line == NULL)
		return;
	putc('+', line);
	for (int column = 0; column < grid->n_columns; column++)
	{
		write_repeated(line, '-', grid->widths[column] + 2);
		putc('+', line);
	}
	if (grid->n_columns == 0)
		putc('+', line);
	if (fclose(line) != 0)
	{
		free(text);
		return;
	}
	/* as many characters of the title as the frame has between its corners */
	for (const char *p = title != NULL ? title : ""; *p != '\0' && title_width < (int) length - 2;)
	{
		for (p++; ((unsigned char) *p & 0xc0) == 0x80; p++)
			;
		n_title = (size_t) (p - title);
		title_width++;
	}
	fprintf(out, "%c%.*s%s", text[0], (int) n_title, n_title > 0 ? title : "",
			text + 1 + title_width);
	free(text);
}

static void
write_cell_line(FILE *out, const Grid *grid, int column, const char *text, size_t length)
{
	int blanks = grid->widths[column] - text_width(text, length);

	putc(' ', out);
	if (grid->is_right[column])
		write_repeated(out, ' ', blanks);
	fwrite(text, 1, length, out);
	if (!grid->is_right[column])
		write_repeated(out, ' ', blanks);
	fputs(" |", out);
}

static void
write_row(FILE *out, const Grid *grid, int row)
{
	int height = 1;

	for (int column = 0; column < grid->n_columns; column++)
	{
		int cell = cell_height(grid->cells[row * grid->n_columns + column]);

		if (cell > height)
			height = cell;
	}
	for (int line = 0; line < height; line++)
	{
		fputs(line == 0 ? "|" : "\n|", out);
		for (int column = 0; column < grid->n_columns; column++)
		{
			const char *text = grid->cells[row * grid->n_columns + column];

			for (int skip = 0; skip < line && text[0] != '\0'; skip++)
			{
				text += strcspn(text, "\n");
				text += text[0] == '\n';
			}
			write_cell_line(out, grid, column, text, strcspn(text, "\n"));
		}
		if (grid->n_columns == 0)
			putc('|', out);
	}
}

/* Draw a table; see format.h.  Ends without a line feed.  malloc'ed. */
char *
format_table(const char *title, const json_t *columns, const char *align, const json_t *rows)
{
	Grid grid = { 0 };
	char *text = NULL;
	size_t length = 0;
	FILE *out;
	bool has_high_cell = false;

	if (!grid_make(&grid, columns, align, rows))
	{
		grid_free(&grid);
		return NULL;
	}
	for (int i = grid.n_columns; i < (grid.n_rows + 1) * grid.n_columns; i++)
		has_high_cell |= strchr(grid.cells[i], '\n') != NULL;
	out = open_memstream(&text, &length);
	if (out != NULL)
	{
		write_rule(out, &grid, title);
		putc('\n', out);
		write_row(out, &grid, 0);
		putc('\n', out);
		write_rule(out, &grid, NULL);
		for (int row = 1; row <= grid.n_rows; row++)
		{
			putc('\n', out);
			write_row(out, &grid, row);
			if (has_high_cell)
			{
				putc('\n', out);
				write_rule(out, &grid, NULL);
			}
		}
		if (!has_high_cell)
		{
			putc('\n', out);
			write_rule(out, &grid, NULL);
		}
		if (fclose(out) != 0)
		{
			free(text);
			text = NULL;
		}
	}
	grid_free(&grid);
	return text;
}

/* A line of columns (NULL = none) and lines of rows, each with a line feed. */
char *
format_separated(const json_t *columns, const json_t *rows, const char *delimiter)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	int n_rows = (int) json_array_size(rows);

	if (out == NULL)
		return NULL;
	for (int row = columns == NULL ? 0 : -1; row < n_rows; row++)
	{
		const json_t *values = row < 0 ? columns : json_array_get(rows, (size_t) row);
		json_t *value;
		size_t value_index;

		json_array_foreach((json_t *) values, value_index, value)
		{
			char *cell = format_plain(value);

			fprintf(out, "%s%s", value_index == 0 ? "" : delimiter, cell == NULL ? "" : cell);
			free(cell);
		}
		putc('\n', out);
	}
	if (fclose(out) != 0)
	{
		free(text);
		return NULL;
	}
	return text;
}

/* An array of objects, or NULL.  Columns of the same name: the last one wins. */
json_t *
format_objects(const json_t *columns, const json_t *rows, bool leave_out_empty)
{
	json_t *list = json_array();
	json_t *row;
	size_t row_index;

	json_array_foreach((json_t *) rows, row_index, row)
	{
		json_t *object = json_pack("{}");
		json_t *column;
		size_t column_index;

		json_array_foreach((json_t *) columns, column_index, column)
		{
			json_t *value = json_array_get(row, column_index);

			if (value == NULL || (leave_out_empty && format_is_empty(value)))
				continue;
			json_object_set(object, json_string_value(column), value);
		}
		json_array_append_new(list, object);
	}
	return list;
}
