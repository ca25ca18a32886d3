/* The parts of a decode step that are no matrix product, float32: attention of one new token per row against the keys
   of its prompt and of its own completion, RMSNorm, rotary embedding, and the gate of an MLP.

   Rows of one prompt follow each other in `order`, so that its keys stay in the cache of the core. Keys lie as
   [T / 8, D, 8], values as [T, D]: both products are then sums of vectors, `out[j] += a[i] * b[i][j]`, without a
   shuffle, and what is read lies together. T and D are multiples of 8. Vectors are those of GCC and Clang, whatever the processor. */

#include <stdint.h>
#include <string.h>

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t i8 __attribute__((vector_size(32)));
typedef float anywhere __attribute__((vector_size(32), aligned(4), may_alias));

enum { MOST_QUERIES = 4 };

static inline v8 load(const float *x) { return *(const anywhere *)x; }
static inline void store(float *x, v8 v) { *(anywhere *)x = v; }

/* e^x for x <= 0, to 2e-7 of itself: 2^n times a polynomial of degree 6 on [-ln2/2, ln2/2]; 0 below e^-87. */
static inline v8 exp8(v8 x) {
    const v8 low = {-87, -87, -87, -87, -87, -87, -87, -87};
    const i8 alive = x >= low;
    x = (v8)(((i8)x & alive) | ((i8)low & ~alive));
    v8 n = x * 1.44269504f - 0.5f;
    const i8 whole = __builtin_convertvector(n, i8); /* towards zero: n <= 0 here, so this rounds to nearest */
    n = __builtin_convertvector(whole, v8);
    const v8 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    v8 p = r * (1.0f / 720) + (1.0f / 120);
    p = p * r + (1.0f / 24);
    p = p * r + (1.0f / 6);
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return (v8)((i8)(p * (v8)((whole + 127) << 23)) & alive);
}

/* out[q][0..8*width) += sum_i a[q][i] * b[i][0..8*width), for `queries` rows of a at once; eights of columns of b are
   `strip` numbers apart. */
static inline __attribute__((always_inline)) void block(
    const int queries, const int width, int count, const float *a, long a_step, const float *b, long b_step, long strip,
    float *out, long out_step) {
    v8 sum[MOST_QUERIES][4];
#pragma GCC unroll 4
    for (int q = 0; q < queries; q++)
#pragma GCC unroll 4
        for (int w = 0; w < width; w++) sum[q][w] = load(out + q * out_step + 8 * w);
    for (int i = 0; i < count; i++) {
        v8 row[4];
#pragma GCC unroll 4
        for (int w = 0; w < width; w++) row[w] = load(b + i * b_step + w * strip);
#pragma GCC unroll 4
        for (int q = 0; q < queries; q++)
#pragma GCC unroll 4
            for (int w = 0; w < width; w++) sum[q][w] += a[q * a_step + i] * row[w];
    }
#pragma GCC unroll 4
    for (int q = 0; q < queries; q++)
#pragma GCC unroll 4
        for (int w = 0; w < width; w++) store(out + q * out_step + 8 * w, sum[q][w]);
}

/* `block` with constants for queries and width, of which up to 4 are done at once. */
static void some(int queries, int width, int count, const float *a, long a_step, const float *b, long b_step, long strip,
                 float *out, long out_step) {
#define CASE(q, w) case 4 * q + w: block(q, w, count, a, a_step, b, b_step, strip, out, out_step); return
    switch (4 * queries + width) {
        CASE(4, 4); CASE(4, 3); CASE(4, 2); CASE(4, 1); CASE(3, 4); CASE(3, 3); CASE(3, 2); CASE(3, 1);
        CASE(2, 4); CASE(2, 3); CASE(2, 2); CASE(2, 1); CASE(1, 4); CASE(1, 3); CASE(1, 2); CASE(1, 1);
    }
}

static int least(int a, int b) { return a < b ? a : b; }

/* out[q][j] += sum_i a[q][i] * b[i][j] for a [queries, count], b [count, columns]; b is read once per 4 rows of a,
   a strip of 32 columns at a time, which stays in the first cache. */
static void product(int queries, int count, int columns, const float *a, long a_step, const float *b, long b_step,
                    long strip, float *out, long out_step) {
    for (int c = 0; c < columns; c += 32)
        for (int q = 0; q < queries; q += 4)
            some(least(4, queries - q), least(4, (columns - c) / 8), count, a + q * a_step, a_step, b + c / 8 * strip,
                 b_step, strip, out + q * out_step + c, out_step);
}

/* Scores become weights that add up to 1, in place; the length is a multiple of 8. */
static void softmax(float *scores, int length) {
    v8 most = load(scores), total = {0};
    for (int t = 8; t < length; t += 8) {
        const v8 s = load(scores + t);
        const i8 more = s > most;
        most = (v8)(((i8)s & more) | ((i8)most & ~more));
    }
    float largest = most[0], sum = 0;
    for (int i = 1; i < 8; i++) largest = most[i] > largest ? most[i] : largest;
    for (int t = 0; t < length; t += 8) {
        const v8 w = exp8(load(scores + t) - largest);
        store(scores + t, w);
        total += w;
    }
    for (int i = 0; i < 8; i++) sum += total[i];
    for (int t = 0; t < length; t += 8) store(scores + t, load(scores + t) / sum);
}

static int up(int n) { return (n + 7) & ~7; }
static void hide(float *scores, int from, int to) { while (from < to) scores[from++] = -1e30f; }

/* What a step works on, as the caller lays it out; every number is 8 bytes. */
struct step {
    const float *q, *k, *v;         /* [n, K, g, D], [n, K, D], [n, K, D] */
    float *out;                     /* [n, K, g, D] */
    float *keys, *values;           /* of completions, [R, K, room / 8, D, 8], [R, K, room, D]; new ones are put at `index` */
    const float *prompt_keys, *prompt_values; /* [P, K, prompt_room / 8, D, 8], [P, K, prompt_room, D] */
    const int64_t *order;           /* [n] rows, those of a prompt after each other */
    const int64_t *prompt, *index;  /* [n] of each row: its prompt, and the place of its newest token */
    const int64_t *prompt_length;   /* [P] */
    int64_t K, g, D, room, prompt_room;
};

enum { TILE = 16 }; /* rows of one prompt that are computed together */

/* One head of rows order[first..last), all of one prompt. memory: TILE * g * (2 * D + prompt_room + room) numbers. */
static void tile(const struct step *s, int64_t first, int64_t last, int64_t h, float *memory) {
    const int64_t D = s->D, g = s->g, head = s->prompt[s->order[first]] * s->K + h;
    const int seen = s->prompt_length[s->prompt[s->order[first]]], theirs = up(seen), rows = (last - first) * g;
    const long wide = theirs + s->room;
    const float scale = 1.0f / __builtin_sqrtf(D);
    float *q = memory, *out = q + rows * D, *scores = out + rows * D;
    memset(out, 0, rows * D * sizeof(float));
    memset(scores, 0, rows * wide * sizeof(float));
    for (int64_t i = first; i < last; i++)
        for (int64_t d = 0; d < g * D; d += 8)
            store(q + (i - first) * g * D + d, load(s->q + (s->order[i] * s->K + h) * g * D + d) * scale);
    product(rows, D, theirs, q, D, s->prompt_keys + head * D * s->prompt_room, 8, 8 * D, scores, wide);
    for (int64_t i = first; i < last; i++) {
        const int64_t at = s->index[s->order[i]], row = s->order[i] * s->K + h;
        const int mine = up(at + 1);
        float *keys = s->keys + row * D * s->room, *values = s->values + row * s->room * D;
        float *here = scores + (i - first) * g * wide;
        for (int64_t d = 0; d < D; d++) keys[(at / 8 * D + d) * 8 + at % 8] = s->k[row * D + d];
        memcpy(values + at * D, s->v + row * D, D * sizeof(float));
        product(g, D, mine, q + (i - first) * g * D, D, keys, 8, 8 * D, here + theirs, wide);
        for (int64_t j = 0; j < g; j++) {
            hide(here + j * wide, seen, theirs);
            hide(here + j * wide, theirs + at + 1, theirs + mine);
            softmax(here + j * wide, theirs + mine);
        }
        product(g, at + 1, D, here + theirs, wide, values, D, 8, out + (i - first) * g * D, D);
    }
    product(rows, seen, D, scores, wide, s->prompt_values + head * s->prompt_room * D, D, 8, out, D);
    for (int64_t i = first; i < last; i++)
        memcpy(s->out + (s->order[i] * s->K + h) * g * D, out + (i - first) * g * D, g * D * sizeof(float));
}

/* Every `parts`-th tile of n rows, beginning with tile `part`: how rows are cut into tiles does not depend on it, and so
   no bit does. */
void decode_attention(const struct step *s, int64_t n, int64_t part, int64_t parts, float *memory) {
    for (int64_t first = 0, number = 0, end; first < n; first = end, number++) {
        end = first + 1;
        while (end < n && end < first + TILE && s->prompt[s->order[end]] == s->prompt[s->order[first]]) end++;
        if (number % parts == part)
            for (int64_t h = 0; h < s->K; h++) tile(s, first, end, h, memory);
    }
}

/* x += more, where there is more, and out = x * scale * weight with scale = 1 / sqrt(mean(x^2) + eps), kept where there
   is room for it, over `rows` rows of `width` numbers, a multiple of 8. */
void rms_norm(float *x, const float *more, const float *weight, float *out, float *scales, int64_t rows, int64_t width,
              float eps) {
    for (int64_t r = 0; r < rows; r++, x += width, out += width) {
        v8 squares = {0};
        float sum = 0;
        for (int64_t i = 0; i < width; i += 8) {
            v8 value = load(x + i);
            if (more) store(x + i, value += load(more + r * width + i));
            squares += value * value;
        }
        for (int i = 0; i < 8; i++) sum += squares[i];
        const float scale = 1.0f / __builtin_sqrtf(sum / width + eps);
        if (scales) scales[r] = scale;
        for (int64_t i = 0; i < width; i += 8) store(out + i, load(x + i) * scale * load(weight + i));
    }
}

/* Of the same, from dy: dx += scale * (dy * weight - x * scale^2 * mean(dy * weight * x)), dweight += dy * x * scale. */
void rms_norm_backward(const float *x, const float *weight, const float *scales, const float *dy, float *dx,
                       float *dweight, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++, x += width, dy += width, dx += width) {
        v8 dots = {0};
        float dot = 0;
        for (int64_t i = 0; i < width; i += 8) dots += load(dy + i) * load(weight + i) * load(x + i);
        for (int i = 0; i < 8; i++) dot += dots[i];
        const float scale = scales[r], back = dot / width * scale * scale * scale;
        for (int64_t i = 0; i < width; i += 8) {
            const v8 change = load(dy + i) * scale, value = load(x + i);
            store(dx + i, load(dx + i) + change * load(weight + i) - value * back);
            store(dweight + i, load(dweight + i) + change * value);
        }
    }
}

/* Rotary embedding of q [rows, H, D] and k [rows, K, D] in place, by cos and sin [rows, D], whose halves are alike; D is
   a multiple of 16. sin has its first half negated. */
void rotate(float *q, float *k, const float *cos, const float *sin, int64_t rows, int64_t H, int64_t K, int64_t D) {
    for (int64_t r = 0; r < rows; r++, cos += D, sin += D)
        for (int64_t h = 0; h < H + K; h++) {
            float *x = h < H ? q + (r * H + h) * D : k + (r * K + h - H) * D;
            for (int64_t i = 0; i < D / 2; i += 8) {
                const v8 a = load(x + i), b = load(x + D / 2 + i);
                store(x + i, a * load(cos + i) + b * load(sin + i));
                store(x + D / 2 + i, b * load(cos + D / 2 + i) + a * load(sin + D / 2 + i));
            }
        }
}

static inline v8 sigmoid8(v8 x) {
    const v8 zero = {0};
    const i8 below = x < zero;
    const v8 e = exp8((v8)(((i8)x & below) | ((i8)-x & ~below)));
    return (v8)(((i8)e & below) | ((i8)(zero + 1.0f) & ~below)) / (e + 1.0f);
}

/* out = gate / (1 + e^-gate) * up, over a multiple of 8 numbers. */
void swiglu(const float *gate, const float *up, float *out, int64_t count) {
    for (int64_t i = 0; i < count; i += 8) {
        const v8 x = load(gate + i);
        store(out + i, x * sigmoid8(x) * load(up + i));
    }
}

/* Of the same, from dy. */
void swiglu_backward(const float *gate, const float *up, const float *dy, float *dgate, float *dup, int64_t count) {
    for (int64_t i = 0; i < count; i += 8) {
        const v8 x = load(gate + i), s = sigmoid8(x), d = load(dy + i);
        store(dgate + i, d * load(up + i) * s * (1.0f + x * (1.0f - s)));
        store(dup + i, d * x * s);
    }
}
