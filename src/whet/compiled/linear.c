/* Linear layers in float32 whose weights lie in an order in which a step reads them once, from the first to the last.
   Libraries bring the weights into an order of their own at every call, which takes longer than the product when the rows
   are few. */

#include "vectors.h"

enum { DEPTH = 512 }; /* numbers that are added up at once: the fewer, the less rounding */

/* w [columns, depth] as [columns / 8, depth, 8]; columns are a multiple of 8. */
void linear_pack(const float *w, float *to, int64_t depth, int64_t columns, int64_t parts) {
    EACH_PART for (int64_t c = cut(columns / 8, part, parts); c < cut(columns / 8, part + 1, parts); c++)
        for (int64_t d = 0; d < depth; d++)
            for (int64_t j = 0; j < 8; j++) to[(c * depth + d) * 8 + j] = w[(8 * c + j) * depth + d];
}

/* Columns [first, last) of y. In which order numbers are added depends on the depth alone: neither on the other rows nor on
   how columns are dealt to threads. */
static void some_columns(const float *x, const float *w, const float *bias, float *y, int64_t rows, int64_t depth,
                         int64_t columns, int64_t first, int64_t last) {
    const v8 zero = {0};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = first; c < last; c += 8) store(y + r * columns + c, bias ? load(bias + c) : zero);
    for (int64_t from = 0; from < depth; from += DEPTH)
        product(rows, least(DEPTH, depth - from), last - first, (struct numbers){x + from, depth, 1},
                (struct vectors){w + first * depth + 8 * from, 8, 8 * depth}, y + first, columns);
}

/* y [rows, columns] = x w^T + bias, x [rows, depth] and w as above. */
void linear(const float *x, const float *w, const float *bias, float *y, int64_t rows, int64_t depth, int64_t columns,
            int64_t parts) {
    EACH_PART some_columns(x, w, bias, y, rows, depth, columns, 8 * cut(columns / 8, part, parts),
                           8 * cut(columns / 8, part + 1, parts));
}
