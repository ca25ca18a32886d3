/* Vectors of 8 floats, and what attention is made of: products in which one side is read number by number and the other a
   vector at a time, and softmax. Vectors are those of GCC and Clang, whatever the processor. */

#pragma once

#include <stdint.h>
#include <string.h>

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t i8 __attribute__((vector_size(32)));
typedef float anywhere __attribute__((vector_size(32), aligned(4), may_alias));

static inline v8 load(const float *x) { return *(const anywhere *)x; }
static inline void store(float *x, v8 v) { *(anywhere *)x = v; }
/* a * b + c, rounded once wherever the processor can: compilers may decide that by what stands around it. */
#ifdef __FMA__
#include <immintrin.h>
static inline v8 times_plus(v8 a, float b, v8 c) { return (v8)_mm256_fmadd_ps((__m256)a, _mm256_set1_ps(b), (__m256)c); }
#else
static inline v8 times_plus(v8 a, float b, v8 c) { return a * b + c; }
#endif

/* A loop whose turns are done by as many threads, those that torch has, where they are of one library. */
#define EACH_PART _Pragma("omp parallel for num_threads(parts) if(parts > 1)") for (int64_t part = 0; part < parts; part++)
/* Where a part of `count` things begins; the next one begins where it ends. */
static inline int64_t cut(int64_t count, int64_t part, int64_t parts) { return count * part / parts; }

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t up(int64_t n) { return (n + 7) & ~7; } /* to a multiple of 8 */

/* e^x for x <= 0, to 2e-7 of itself: 2^n times a polynomial of degree 6 on [-ln2/2, ln2/2]; 0 below e^-87, NaN of NaN. */
static inline v8 exp8(v8 x) {
    const v8 low = {-87, -87, -87, -87, -87, -87, -87, -87};
    const i8 dead = x < low;
    x = (v8)(((i8)x & ~dead) | ((i8)low & dead));
    v8 n = x * 1.44269504f - 0.5f;
    const i8 whole = __builtin_convertvector(n, i8); /* towards zero: n <= 0 here, so this rounds to nearest */
    n = __builtin_convertvector(whole, v8);
    const v8 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    v8 p = r * (1.0f / 720) + (1.0f / 120);
    p = p * r + (1.0f / 24);
    p = p * r + (1.0f / 6);
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return (v8)((i8)(p * (v8)((whole + 127) << 23)) & ~dead);
}

/* A matrix that is read number by number: element (i, j) is at[i * row + j * column]. */
struct numbers { const float *at; long row, column; };
/* A matrix that is read in vectors along its rows: eights of columns are `strip` numbers apart. */
struct vectors { const float *at; long row, strip; };

/* out[r][c] += sum_i a(r, i) * b(i, c) for some rows and eights of columns, whose sums all stay in registers. */
static inline __attribute__((always_inline)) void block(const int rows, const int eights, int64_t count, struct numbers a,
                                                        struct vectors b, float *out, long step) {
    v8 sum[6][4] = {0};
    for (int64_t i = 0; i < count; i++) {
        v8 row[4];
#pragma GCC unroll 4
        for (int e = 0; e < eights; e++) row[e] = load(b.at + i * b.row + e * b.strip);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int e = 0; e < eights; e++) sum[r][e] = times_plus(row[e], a.at[r * a.row + i * a.column], sum[r][e]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int e = 0; e < eights; e++) store(out + r * step + 8 * e, load(out + r * step + 8 * e) + sum[r][e]);
}

static void some(int64_t rows, int64_t eights, int64_t count, struct numbers a, struct vectors b, float *out, long step) {
#define CASE(r, e) case 4 * r + e: block(r, e, count, a, b, out, step); return
    switch (4 * rows + eights) {
        CASE(1, 1); CASE(1, 2); CASE(1, 3); CASE(1, 4); CASE(2, 1); CASE(2, 2); CASE(2, 3); CASE(2, 4);
        CASE(3, 1); CASE(3, 2); CASE(3, 3); CASE(3, 4); CASE(4, 1); CASE(4, 2); CASE(5, 1); CASE(5, 2);
        CASE(6, 1); CASE(6, 2);
    }
}

/* out[r][c] += sum_i a(r, i) * b(i, c), columns a multiple of 8: in blocks of 6 rows and 16 columns, or of 32 columns where
   there are less than 4 rows. A block's part of b stays in the first cache for all rows. */
static void product(int64_t rows, int64_t count, int64_t columns, struct numbers a, struct vectors b, float *out, long step) {
    const int64_t most = rows < 4 ? 3 : 6, wide = rows < 4 ? 4 : 2;
    for (int64_t c = 0; c < columns; c += 8 * wide) {
        const struct vectors here = {b.at + c / 8 * b.strip, b.row, b.strip};
        for (int64_t r = 0, n; r < rows; r += n) {
            const int64_t left = rows - r, blocks = (left + most - 1) / most;
            n = (left + blocks - 1) / blocks;
            const struct numbers these = {a.at + r * a.row, a.row, a.column};
            some(n, least(wide, (columns - c) / 8), count, these, here, out + r * step + c, step);
        }
    }
}

/* Scores become weights that add up to 1, in place; the length is a multiple of 8. Returns the logarithm of what they were
   divided by. */
static float softmax(float *scores, int64_t length) {
    v8 most = load(scores), total = {0};
    for (int64_t t = 8; t < length; t += 8) {
        const v8 s = load(scores + t);
        const i8 more = s > most;
        most = (v8)(((i8)s & more) | ((i8)most & ~more));
    }
    float largest = most[0], sum = 0;
    for (int i = 1; i < 8; i++) largest = most[i] > largest ? most[i] : largest;
    for (int64_t t = 0; t < length; t += 8) {
        const v8 w = exp8(load(scores + t) - largest);
        store(scores + t, w);
        total += w;
    }
    for (int i = 0; i < 8; i++) sum += total[i];
    const float share = 1 / sum;
    for (int64_t t = 0; t < length; t += 8) store(scores + t, load(scores + t) * share);
    return largest + __builtin_logf(sum);
}

static inline void hide(float *scores, int64_t from, int64_t to) { while (from < to) scores[from++] = -1e30f; }
