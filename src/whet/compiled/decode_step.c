/* The parts of a decode step that are no matrix product, float32: attention of one new token per row against the keys
   of its prompt and of its own completion, RMSNorm, rotary embedding, and the gate of an MLP.

   Rows of one prompt follow each other in `order`, so that its keys stay in the cache of the core. Keys lie as
   [T / 8, D, 8], values as [T, D]: both products are then sums of vectors, `out[j] += a[i] * b[i][j]`, without a
   shuffle, and what is read lies together. T and D are multiples of 8. */

#include "vectors.h"

/* What a step works on, as the caller lays it out; every number is 8 bytes. */
struct step {
    float *keys, *values;           /* of completions, [L, R, K, room / 8, D, 8], [L, R, K, room, D]; new ones go to `index` */
    const int64_t *place;           /* [n] where a row lies in them */
    const float *prompt_keys, *prompt_values; /* [L, P, K, prompt_room / 8, D, 8], [L, P, K, prompt_room, D] */
    const int64_t *prompt_place;    /* [P] */
    const int64_t *order;           /* [n] rows, those of a prompt after each other */
    const int64_t *prompt, *index;  /* [n] of each row: its prompt, and the place of its newest token */
    const int64_t *prompt_length;   /* [P] */
    int64_t K, D, room, prompt_room, own_layer, prompt_layer; /* the last two: numbers of a layer's keys */
    const float *q, *k, *v;         /* [n, K, g, D], [n, K, D], [n, K, D], rows q_row and kv_row numbers apart */
    float *out;                     /* [n, K, g, D] */
    int64_t layer, g, q_row, kv_row;
};

enum { TILE = 16 }; /* rows of one prompt that are computed together */

/* One head of rows order[first..last), all of one prompt. memory: TILE * g * (2 * D + prompt_room + room) numbers. */
static void tile(const struct step *s, int64_t first, int64_t last, int64_t h, float *memory) {
    const int64_t D = s->D, g = s->g, rows = (last - first) * g, prompt = s->prompt[s->order[first]];
    const int64_t seen = s->prompt_length[prompt], theirs = up(seen);
    const int64_t theirs_at = s->layer * s->prompt_layer + (s->prompt_place[prompt] * s->K + h) * s->prompt_room * D;
    int64_t longest = 0;
    for (int64_t i = first; i < last; i++) {
        const int64_t mine = up(s->index[s->order[i]] + 1);
        longest = mine > longest ? mine : longest;
    }
    const long wide = theirs + longest;
    const float scale = 1.0f / __builtin_sqrtf(D);
    float *q = memory, *out = q + rows * D, *scores = out + rows * D;
    memset(out, 0, rows * D * sizeof(float));
    memset(scores, 0, rows * wide * sizeof(float));
    for (int64_t i = first; i < last; i++)
        for (int64_t d = 0; d < g * D; d += 8)
            store(q + (i - first) * g * D + d, load(s->q + s->order[i] * s->q_row + h * g * D + d) * scale);
    product(rows, D, theirs, (struct numbers){q, D, 1},
            (struct vectors){s->prompt_keys + theirs_at, 8, 8 * D}, scores, wide);
    for (int64_t i = first; i < last; i++) {
        const int64_t at = s->index[s->order[i]], mine = up(at + 1);
        const int64_t mine_at = s->layer * s->own_layer + (s->place[s->order[i]] * s->K + h) * s->room * D;
        float *keys = s->keys + mine_at, *values = s->values + mine_at;
        const float *k = s->k + s->order[i] * s->kv_row + h * D;
        float *here = scores + (i - first) * g * wide;
        for (int64_t d = 0; d < D; d++) keys[(at / 8 * D + d) * 8 + at % 8] = k[d];
        memcpy(values + at * D, s->v + s->order[i] * s->kv_row + h * D, D * sizeof(float));
        product(g, D, mine, (struct numbers){q + (i - first) * g * D, D, 1}, (struct vectors){keys, 8, 8 * D},
                here + theirs, wide);
        for (int64_t j = 0; j < g; j++) {
            hide(here + j * wide, seen, theirs);
            hide(here + j * wide, theirs + at + 1, theirs + mine);
            softmax(here + j * wide, theirs + mine);
        }
        product(g, at + 1, D, (struct numbers){here + theirs, wide, 1}, (struct vectors){values, D, 8},
                out + (i - first) * g * D, D);
    }
    product(rows, seen, D, (struct numbers){scores, wide, 1},
            (struct vectors){s->prompt_values + theirs_at, D, 8}, out, D);
    for (int64_t i = first; i < last; i++)
        memcpy(s->out + (s->order[i] * s->K + h) * g * D, out + (i - first) * g * D, g * D * sizeof(float));
}

/* The end of the tile that begins at row `first`. */
static int64_t tile_end(const struct step *s, int64_t n, int64_t first) {
    int64_t end = first + 1;
    while (end < n && end < first + TILE && s->prompt[s->order[end]] == s->prompt[s->order[first]]) end++;
    return end;
}

/* One of `parts` shares: tiles in turn, or heads of tiles where there are few tiles. */
static void tiles(const struct step *s, int64_t n, int64_t part, int64_t parts, float *memory) {
    int64_t count = 0, piece = 0;
    for (int64_t first = 0; first < n; first = tile_end(s, n, first)) count++;
    const int64_t dealt = count < parts ? 1 : s->K;
    for (int64_t first = 0, end; first < n; first = end) {
        end = tile_end(s, n, first);
        for (int64_t h = 0; h < s->K; h++, piece++)
            if (piece / dealt % parts == part) tile(s, first, end, h, memory);
    }
}

/* n rows. How they are cut into tiles does not depend on the number of parts, and so no bit does. memory: [parts, room]. */
void decode_attention(const struct step *s, int64_t n, float *memory, int64_t room, int64_t parts) {
    EACH_PART tiles(s, n, part, parts, memory + part * room);
}

/* x += more, where there is more, and out = x * scale * weight with scale = 1 / sqrt(mean(x^2) + eps), for one row of `width`
   numbers, a multiple of 8. Returns the scale. */
static float rms_norm_row(float *x, const float *more, const float *weight, float *out, int64_t width, float eps) {
    v8 squares = {0};
    float sum = 0;
    for (int64_t i = 0; i < width; i += 8) {
        v8 value = load(x + i);
        if (more) store(x + i, value += load(more + i));
        squares += value * value;
    }
    for (int i = 0; i < 8; i++) sum += squares[i];
    const float scale = 1.0f / __builtin_sqrtf(sum / width + eps);
    for (int64_t i = 0; i < width; i += 8) store(out + i, load(x + i) * scale * load(weight + i));
    return scale;
}

/* The same for `rows` rows; their scales are kept where there is room for them. */
void rms_norm(float *x, const float *more, const float *weight, float *out, float *scales, int64_t rows, int64_t width,
              float eps, int64_t parts) {
    EACH_PART for (int64_t r = cut(rows, part, parts), at = r * width; r < cut(rows, part + 1, parts); r++, at += width) {
        const float scale = rms_norm_row(x + at, more ? more + at : 0, weight, out + at, width, eps);
        if (scales) scales[r] = scale;
    }
}

/* Of the same, from dy: dx += scale * (dy * weight - x * scale^2 * mean(dy * weight * x)), and in dweight [parts, width]
   each part's sum of dy * x * scale is added. */
void rms_norm_backward(const float *xs, const float *weight, const float *scales, const float *dys, float *dxs,
                       float *dweights, int64_t rows, int64_t width, int64_t parts) {
    EACH_PART for (int64_t r = cut(rows, part, parts); r < cut(rows, part + 1, parts); r++) {
        const float *x = xs + r * width, *dy = dys + r * width;
        float *dx = dxs + r * width, *dweight = dweights + part * width;
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

/* Rotary embedding of some heads in place, by cos and sin [D], whose halves are alike; D is a multiple of 16. sin has its
   first half negated. */
static void rotate_heads(float *x, const float *cos, const float *sin, int64_t heads, int64_t D) {
    for (const float *end = x + heads * D; x < end; x += D)
        for (int64_t i = 0; i < D / 2; i += 8) {
            const v8 a = load(x + i), b = load(x + D / 2 + i);
            store(x + i, a * load(cos + i) + b * load(sin + i));
            store(x + D / 2 + i, b * load(cos + D / 2 + i) + a * load(sin + D / 2 + i));
        }
}

/* The same of q [rows, H, D] and k [rows, K, D]; cos and sin [rows, D]. */
void rotate(float *q, float *k, const float *cos, const float *sin, int64_t rows, int64_t H, int64_t K, int64_t D,
            int64_t parts) {
    EACH_PART for (int64_t r = cut(rows, part, parts); r < cut(rows, part + 1, parts); r++) {
        rotate_heads(q + r * H * D, cos + r * D, sin + r * D, H, D);
        rotate_heads(k + r * K * D, cos + r * D, sin + r * D, K, D);
    }
}

static inline v8 sigmoid8(v8 x) {
    const v8 zero = {0};
    const i8 below = x < zero;
    const v8 e = exp8((v8)(((i8)x & below) | ((i8)-x & ~below)));
    return (v8)(((i8)e & below) | ((i8)(zero + 1.0f) & ~below)) / (e + 1.0f);
}

/* The place of each vector of a part, of `eights` vectors. */
#define EACH_VECTOR EACH_PART for (int64_t i = 8 * cut(eights, part, parts); i < 8 * cut(eights, part + 1, parts); i += 8)

static inline v8 silu8(v8 x) { return x * sigmoid8(x); }

/* out = gate / (1 + e^-gate) * up. */
void swiglu(const float *gate, const float *up, float *out, int64_t eights, int64_t parts) {
    EACH_VECTOR store(out + i, silu8(load(gate + i)) * load(up + i));
}

/* Of the same, from dy. */
void swiglu_backward(const float *gate, const float *up, const float *dy, float *dgate, float *dup, int64_t eights,
                     int64_t parts) {
    EACH_VECTOR {
        const v8 x = load(gate + i), s = sigmoid8(x), d = load(dy + i);
        store(dgate + i, d * load(up + i) * s * (1.0f + x * (1.0f - s)));
        store(dup + i, d * x * s);
    }
}

#define GELU_SLOPE 1.5957691216f /* 2 sqrt(2 / pi) */
#define GELU_CUBE 0.044715f

/* x / 2 (1 + tanh(u)) = x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3). */
static inline v8 gelu8(v8 x) { return x * sigmoid8(GELU_SLOPE * x * (1.0f + GELU_CUBE * x * x)); }

void gelu(const float *x, float *out, int64_t eights, int64_t parts) { EACH_VECTOR store(out + i, gelu8(load(x + i))); }

/* Of the same, from dy. */
void gelu_backward(const float *x, const float *dy, float *dx, int64_t eights, int64_t parts) {
    EACH_VECTOR {
        const v8 value = load(x + i), square = GELU_CUBE * value * value;
        const v8 s = sigmoid8(GELU_SLOPE * value * (1.0f + square));
        store(dx + i, load(dy + i) * s * (1.0f + GELU_SLOPE * value * (1.0f + 3.0f * square) * (1.0f - s)));
    }
}
