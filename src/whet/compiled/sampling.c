/* Draws a token of each row from float32 logits by inverse CDF, in two readings and without a copy: the sums of blocks first,
   then the weights of one block again. */

#include "vectors.h"

enum { BLOCK = 128 }; /* weights of a block, a multiple of 8 */

/* e^((x - largest) / temperature) of 8 numbers, 0 for what is no number here. */
static inline v8 weights8(const float *x, int64_t count, float largest, float temperature) {
    v8 value = {0};
    if (count >= 8) value = load(x);
    else for (int i = 0; i < 8; i++) value[i] = i < count ? x[i] : -1e30f;
    return exp8((value - largest) / temperature);
}

/* The weights from `at` on, of a block or what there is of it, into `to`; their sum. */
static double block_of(const float *x, int64_t at, int64_t V, float largest, float temperature, float *to) {
    const int64_t end = least(at + BLOCK, V);
    v8 sums = {0};
    double sum = 0;
    for (int64_t i = at; i < end; i += 8) {
        const v8 w = weights8(x + i, end - i, largest, temperature);
        store(to + i - at, w);
        sums += w;
    }
    for (int i = 0; i < 8; i++) sum += sums[i];
    return sum;
}

/* The largest logit; NaN where one is NaN, or none is finite. */
static float largest_of(const float *x, int64_t V) {
    const float none = -__builtin_inff();
    v8 most = {none, none, none, none, none, none, none, none};
    i8 odd = {0};
    float largest = none;
    int64_t i = 0;
    for (; i + 8 <= V; i += 8) {
        const v8 value = load(x + i);
        const i8 more = value > most;
        most = (v8)(((i8)value & more) | ((i8)most & ~more));
        odd |= value != value;
    }
    for (int j = 0; j < 8; j++) {
        largest = most[j] > largest ? most[j] : largest;
        if (odd[j]) return __builtin_nanf("");
    }
    for (; i < V; i++) {
        largest = x[i] > largest ? x[i] : largest;
        if (x[i] != x[i]) return __builtin_nanf("");
    }
    return __builtin_isfinite(largest) ? largest : __builtin_nanf("");
}

/* uniform: a number in [0, 1). blocks: room for V / BLOCK + 1 numbers. */
static void draw_one(const float *x, float uniform, int64_t V, float temperature, double *blocks, int64_t *token,
                     float *logprob) {
    const float largest = largest_of(x, V);
    float weights[BLOCK];
    double total = 0, before = 0;
    int64_t number = 0, last = 0;
    *token = 0;
    *logprob = largest;
    if (largest != largest) return;
    for (int64_t at = 0; at < V; at += BLOCK)
        total += blocks[at / BLOCK] = block_of(x, at, V, largest, temperature, weights);
    const double target = uniform < 1 ? uniform * total : total * (1 - 1e-15);
    while (before + blocks[number] <= target) before += blocks[number++];
    block_of(x, number * BLOCK, V, largest, temperature, weights);
    double left = target - before;
    for (int64_t i = 0; i < least(BLOCK, V - number * BLOCK); i++) {
        if (weights[i] > 0) last = i; /* the last one is taken where rounding leaves something */
        if ((left -= weights[i]) < 0) break;
    }
    *token = number * BLOCK + last;
    *logprob = (x[*token] - largest) / temperature - (float)__builtin_log(total);
}

/* logits [rows, V]; tokens and their log-probabilities [rows], NaN where logits are no distribution. blocks: [parts, room]. */
void draw(const float *logits, const float *uniform, int64_t *tokens, float *logprobs, int64_t rows, int64_t V,
          float temperature, double *blocks, int64_t room, int64_t parts) {
    EACH_PART for (int64_t r = cut(rows, part, parts); r < cut(rows, part + 1, parts); r++)
        draw_one(logits + r * V, uniform[r], V, temperature, blocks + part * room, tokens + r, logprobs + r);
}
