/* y = x w^T + bias in float32, for few rows of x: each weight is read once, from where the model keeps it. Libraries copy
   the weights into an order of their own at every call, which takes longer than the product when the rows are few.

   x is [rows, depth], w [columns, depth], and depth a multiple of 8. A tile of 4 rows and 2 columns adds up 8 vectors of
   8 partial sums along the depth, 1024 numbers at a time, so that both stay in the first cache. In which order numbers are
   added depends on the depth alone: neither on the other rows nor on how columns are dealt to threads. */

#include "vectors.h"

enum { ROWS = 4, COLUMNS = 2, AHEAD = 8, DEPTH = 1024 };

/* Keeps a vector in its register: compilers would read it from memory again for every sum that it goes into. */
#if defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define IN_REGISTER(v) __asm__("" : "+w"(v))
#else
#define IN_REGISTER(v)
#endif

static inline float sum(v8 v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

/* found[r][c] = the product of `depth` numbers of row r of x and row c of w, which lie `step` and `w_step` numbers apart;
   what comes `ahead` in w is fetched meanwhile. */
static inline __attribute__((always_inline)) void tile(const int rows, int64_t depth, int64_t step, int64_t w_step,
                                                       const float *x, const float *w, int64_t ahead,
                                                       float found[ROWS][COLUMNS]) {
    v8 total[ROWS][COLUMNS] = {0};
    for (int64_t i = 0; i < depth; i += 8) {
        v8 a[ROWS];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) a[r] = load(x + r * step + i);
        if (ahead && i % 16 == 0)
#pragma GCC unroll 4
            for (int c = 0; c < COLUMNS; c++) __builtin_prefetch(w + ahead + c * w_step + i);
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) {
            v8 b = load(w + c * w_step + i);
            IN_REGISTER(b);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) total[r][c] += a[r] * b;
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) found[r][c] = sum(total[r][c]);
}

/* Columns [first, last) of y, whose rows are `columns` numbers long. A column that is left over goes through the same tile,
   as both of its columns. */
void linear(const float *x, const float *w, const float *bias, float *y, int64_t rows, int64_t depth, int64_t columns,
            int64_t first, int64_t last) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = first; c < last; c++) y[r * columns + c] = bias ? bias[c] : 0;
    for (int64_t c = first; c < last; c += COLUMNS)
        for (int64_t from = 0; from < depth; from += DEPTH)
            for (int64_t r = 0; r < rows; r += ROWS) {
                const int64_t some = least(depth - from, DEPTH), m = least(rows - r, ROWS), n = least(last - c, COLUMNS);
                const int64_t ahead = r == 0 && c + AHEAD + COLUMNS <= last ? AHEAD * depth : 0;
                const float *a = x + r * depth + from, *b = w + c * depth + from;
                float found[ROWS][COLUMNS];
#define TILE(m) case m: tile(m, some, depth, n < COLUMNS ? 0 : depth, a, b, ahead, found); break
                switch (m) { TILE(1); TILE(2); TILE(3); TILE(4); }
                for (int64_t i = 0; i < m; i++)
                    for (int64_t j = 0; j < n; j++) y[(r + i) * columns + c + j] += found[i][j];
            }
}
