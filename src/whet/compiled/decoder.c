/* One token of every row through all layers of a decoder in one call: in a small model Python takes longer between two pieces
   of a layer than the pieces take. One library, so that the pieces can be called from here. */

#include "decode_step.c"
#include "linear.c"

/* LayerNorm where there is a bias, else RMSNorm; nothing where there is no weight. */
struct norm { const float *weight, *bias; double eps; };
/* As `linear` takes them. */
struct dense { const float *weights, *bias; int64_t depth, columns; };

struct layer {
    struct norm before_attention, of_q, of_k, before_mlp;
    struct dense qkv, out, up, down; /* of queries, keys and values next to each other; of a gate and what it opens to */
};

struct decoder {
    const struct layer *layers;
    struct norm last;
    int64_t count, width, inner, is_gated; /* layers, numbers of a state, numbers between the layers of an MLP */
};

enum { SMALL = 8192 }; /* numbers that one thread works through as fast as it wakes another */

static int64_t dealt(int64_t numbers, int64_t threads) { return numbers < SMALL ? 1 : least(threads, numbers / SMALL); }

/* x += more, where there is more, and out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias. */
static void layer_norm_row(float *x, const float *more, struct norm n, float *out, int64_t width) {
    v8 sums = {0}, squares = {0};
    float mean = 0, variance = 0;
    for (int64_t i = 0; i < width; i += 8) {
        v8 value = load(x + i);
        if (more) store(x + i, value += load(more + i));
        sums += value;
    }
    for (int i = 0; i < 8; i++) mean += sums[i] / width;
    for (int64_t i = 0; i < width; i += 8) {
        const v8 from_mean = load(x + i) - mean;
        squares += from_mean * from_mean;
    }
    for (int i = 0; i < 8; i++) variance += squares[i] / width;
    const float scale = 1.0f / __builtin_sqrtf(variance + (float)n.eps);
    for (int64_t i = 0; i < width; i += 8) store(out + i, (load(x + i) - mean) * scale * load(n.weight + i) + load(n.bias + i));
}

static void normalise_row(struct norm n, float *x, const float *more, float *out, int64_t width) {
    if (n.bias) layer_norm_row(x, more, n, out, width);
    else rms_norm_row(x, more, n.weight, out, width, n.eps);
}

static void normalise(struct norm n, float *x, const float *more, float *out, int64_t rows, int64_t width, int64_t threads) {
    const int64_t parts = dealt(rows * width, threads);
    EACH_PART for (int64_t r = cut(rows, part, parts); r < cut(rows, part + 1, parts); r++)
        normalise_row(n, x + r * width, more ? more + r * width : 0, out + r * width, width);
}

static void apply(struct dense d, const float *x, float *y, int64_t rows, int64_t threads) {
    linear(x, d.weights, d.bias, y, rows, d.depth, d.columns, least(threads, d.columns / 8));
}

/* Norms and rotary embedding of queries and keys, which follow each other in a row of `heads`. */
static void turn(const struct layer *l, const struct step *s, float *heads, const float *cos, const float *sin, int64_t rows,
                 int64_t threads) {
    const int64_t D = s->D, K = s->K, H = K * s->g, parts = dealt(rows * s->q_row, threads);
    EACH_PART for (int64_t r = cut(rows, part, parts); r < cut(rows, part + 1, parts); r++) {
        float *row = heads + r * s->q_row;
        for (int64_t h = 0; h < H + K; h++) {
            const struct norm n = h < H ? l->of_q : l->of_k;
            if (n.weight) normalise_row(n, row + h * D, 0, row + h * D, D);
        }
        if (cos) rotate_heads(row, cos + r * D, sin + r * D, H + K, D);
    }
}

/* What is between the two layers of an MLP, from what the first gave to what the second takes. */
static void activate(const struct decoder *m, const float *up, float *to, int64_t rows, int64_t threads) {
    const int64_t inner = m->inner, wide = m->is_gated ? 2 * inner : inner, parts = dealt(rows * wide, threads);
    EACH_PART for (int64_t r = cut(rows, part, parts); r < cut(rows, part + 1, parts); r++) {
        const float *x = up + r * wide;
        float *out = to + r * inner;
        for (int64_t i = 0; i < inner; i += 8)
            store(out + i, m->is_gated ? silu8(load(x + i)) * load(x + inner + i) : gelu8(load(x + i)));
    }
}

/* x [n, width] -> out [n, width], x is overwritten. cos and sin: [n, D], or none. step: without q, k, v and out, which are
   made here. room: numbers that a thread needs for attention.
   memory: threads * room + n * (width + H * D + inner + columns of qkv or of up, whichever are more) numbers. */
void decode(const struct decoder *m, struct step *step, float *x, const float *cos, const float *sin, float *out, int64_t n,
            float *memory, int64_t room, int64_t threads) {
    struct step s = *step;
    const int64_t parts = least(threads, n * s.K), heads = s.K * s.g * s.D;
    float *more = memory + threads * room, *attended = more + n * m->width, *inner = attended + n * heads;
    float *wide = inner + n * m->inner; /* queries, keys and values; then what an MLP's first layer gives */
    s.q_row = s.kv_row = heads + 2 * s.K * s.D;
    s.q = wide, s.k = wide + heads, s.v = s.k + s.K * s.D, s.out = attended;
    for (s.layer = 0; s.layer < m->count; s.layer++) {
        const struct layer *l = m->layers + s.layer;
        normalise(l->before_attention, x, s.layer ? more : 0, out, n, m->width, threads);
        apply(l->qkv, out, wide, n, threads);
        turn(l, &s, wide, cos, sin, n, threads);
        decode_attention(&s, n, memory, room, parts);
        apply(l->out, attended, more, n, threads);
        normalise(l->before_mlp, x, more, out, n, m->width, threads);
        apply(l->up, out, wide, n, threads);
        activate(m, wide, inner, n, threads);
        apply(l->down, inner, more, n, threads);
    }
    normalise(m->last, x, more, out, n, m->width, threads);
}
