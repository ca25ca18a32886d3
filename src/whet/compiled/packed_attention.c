/* Attention of packed tokens and its gradients, float32: each span of tokens sees itself, causally, and all of its prompt.

   Prompts are the first spans, each with the completions that see it; nothing of one prompt touches another, so a prompt and
   a head of keys are a piece of work by themselves, whoever does it. The scores of a few tokens against all that they see
   are made at once, in memory that stays in the cache of a core. D is a multiple of 8. */

#include "vectors.h"

/* What is worked on, as the caller lays it out; every number is 8 bytes. */
struct work {
    const float *q, *k, *v;            /* [M, K, g, D], [M, K, D], [M, K, D] */
    float *out, *normaliser;           /* [M, K, g, D]; [M, K, g], the logarithm of the sum of e^score */
    const float *dout;                 /* of the gradients */
    float *dq, *dk, *dv;               /* dk and dv are added to */
    const int64_t *starts, *lengths;   /* of spans: P prompts, then completions */
    const int64_t *completions;        /* [P + 1] the first completion of each prompt, as a span, and the end */
    int64_t P, K, g, D, tokens;        /* tokens that are done at once */
    double scale;
};

/* A span and its prompt (none: length 0), against one head of keys. */
struct span { int64_t start, length, prompt, seen, head; };

/* Vectors [count, D], `step` numbers apart, as [count / 8, D, 8]; zeros after the last. */
static void turned(const float *x, int64_t step, int64_t count, int64_t D, float *to) {
    memset(to, 0, up(count) * D * sizeof(float));
    for (int64_t t = 0; t < count; t++)
        for (int64_t d = 0; d < D; d++) to[(t / 8 * D + d) * 8 + t % 8] = x[t * step + d];
}

/* The prompt's vectors and the span's own behind them, turned. */
static void turned_both(const struct work *w, struct span s, const float *x, float *to) {
    const int64_t step = w->K * w->D, at = s.head * w->D;
    turned(x + s.prompt * step + at, step, s.seen, w->D, to);
    turned(x + s.start * step + at, step, s.length, w->D, to + up(s.seen) * w->D);
}

/* Rows [n * g, D] of tokens `first`.. of the span, times a factor. */
static void gathered(const struct work *w, struct span s, int64_t first, int64_t n, const float *x, float factor, float *to) {
    const int64_t size = w->g * w->D;
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < size; d += 8)
            store(to + i * size + d, load(x + ((s.start + first + i) * w->K + s.head) * size + d) * factor);
}

/* out += weights times the vectors of the prompt and of the first `own` tokens of the span. weights: [rows, wide]. */
static void weighted(const struct work *w, struct span s, int64_t rows, int64_t own, const float *weights, int64_t wide,
                     const float *x, float *out) {
    const int64_t step = w->K * w->D, at = s.head * w->D;
    const struct vectors theirs = {x + s.prompt * step + at, step, 8}, mine = {x + s.start * step + at, step, 8};
    product(rows, s.seen, w->D, (struct numbers){weights, wide, 1}, theirs, out, w->D);
    product(rows, own, w->D, (struct numbers){weights + up(s.seen), wide, 1}, mine, out, w->D);
}

/* The other way: what rows [rows, D] give to the vectors that they weighted. */
static void handed_back(const struct work *w, struct span s, int64_t rows, int64_t own, const float *weights, int64_t wide,
                        const float *x, float *to) {
    const int64_t step = w->K * w->D, at = s.head * w->D;
    const struct vectors from = {x, w->D, 8};
    product(s.seen, rows, w->D, (struct numbers){weights, 1, wide}, from, to + s.prompt * step + at, step);
    product(own, rows, w->D, (struct numbers){weights + up(s.seen), 1, wide}, from, to + s.start * step + at, step);
}

static void scores(const struct work *w, int64_t rows, int64_t columns, const float *x, const float *turned, int64_t wide,
                   float *to) {
    for (int64_t r = 0; r < rows; r++) memset(to + r * wide, 0, columns * sizeof(float));
    product(rows, w->D, columns, (struct numbers){x, w->D, 1}, (struct vectors){turned, 8, 8 * w->D}, to, wide);
}

/* Scores of tokens `first`.. against all that they see, and what they do not see hidden. */
static void masked(const struct work *w, struct span s, int64_t first, int64_t n, const float *q, const float *keys,
                   int64_t wide, float *to) {
    const int64_t theirs = up(s.seen), columns = theirs + up(first + n);
    scores(w, n * w->g, columns, q, keys, wide, to);
    for (int64_t r = 0; r < n * w->g; r++) {
        hide(to + r * wide, s.seen, theirs);
        hide(to + r * wide, theirs + first + r / w->g + 1, columns);
    }
}

static void forward(const struct work *w, struct span s, float *memory) {
    const int64_t D = w->D, g = w->g, wide = up(s.seen) + up(s.length), most = w->tokens * g;
    float *keys = memory, *q = keys + wide * D, *out = q + most * D, *weights = out + most * D;
    turned_both(w, s, w->k, keys);
    for (int64_t first = 0; first < s.length; first += w->tokens) {
        const int64_t n = least(w->tokens, s.length - first), columns = up(s.seen) + up(first + n);
        gathered(w, s, first, n, w->q, w->scale, q);
        masked(w, s, first, n, q, keys, wide, weights);
        memset(out, 0, n * g * D * sizeof(float));
        for (int64_t r = 0; r < n * g; r++)
            w->normaliser[((s.start + first + r / g) * w->K + s.head) * g + r % g] = softmax(weights + r * wide, columns);
        weighted(w, s, n * g, first + n, weights, wide, w->v, out);
        for (int64_t i = 0; i < n; i++)
            memcpy(w->out + ((s.start + first + i) * w->K + s.head) * g * D, out + i * g * D, g * D * sizeof(float));
    }
}

/* Weights of a row from its scores, and the gradient of the scores in place of that of the weights. */
static void through_softmax(float *weights, float *dweights, int64_t columns, float normaliser, const float *out,
                            const float *dout, int64_t D) {
    v8 dots = {0};
    float dot = 0;
    for (int64_t d = 0; d < D; d += 8) dots += load(out + d) * load(dout + d);
    for (int i = 0; i < 8; i++) dot += dots[i];
    for (int64_t t = 0; t < columns; t += 8) {
        const v8 weight = exp8(load(weights + t) - normaliser);
        store(weights + t, weight);
        store(dweights + t, weight * (load(dweights + t) - dot));
    }
}

static void backward(const struct work *w, struct span s, float *memory) {
    const int64_t D = w->D, g = w->g, wide = up(s.seen) + up(s.length), most = w->tokens * g;
    float *keys = memory, *values = keys + wide * D, *q = values + wide * D, *dout = q + most * D, *dq = dout + most * D;
    float *weights = dq + most * D, *dweights = weights + most * wide;
    turned_both(w, s, w->k, keys);
    turned_both(w, s, w->v, values);
    for (int64_t first = 0; first < s.length; first += w->tokens) {
        const int64_t n = least(w->tokens, s.length - first), own = first + n, columns = up(s.seen) + up(own);
        gathered(w, s, first, n, w->q, w->scale, q);
        gathered(w, s, first, n, w->dout, 1, dout);
        masked(w, s, first, n, q, keys, wide, weights);
        scores(w, n * g, columns, dout, values, wide, dweights);
        for (int64_t r = 0; r < n * g; r++) {
            const int64_t at = ((s.start + first + r / g) * w->K + s.head) * g + r % g;
            through_softmax(weights + r * wide, dweights + r * wide, columns, w->normaliser[at], w->out + at * D,
                            dout + r * D, D);
        }
        memset(dq, 0, n * g * D * sizeof(float));
        weighted(w, s, n * g, own, dweights, wide, w->k, dq);
        for (int64_t i = 0; i < n; i++)
            for (int64_t d = 0; d < g * D; d += 8)
                store(w->dq + ((s.start + first + i) * w->K + s.head) * g * D + d,
                      load(dq + i * g * D + d) * (float)w->scale);
        handed_back(w, s, n * g, own, dweights, wide, q, w->dk);
        handed_back(w, s, n * g, own, weights, wide, dout, w->dv);
    }
}

static void each(const struct work *w, int64_t part, int64_t parts, float *memory,
                 void (*done)(const struct work *, struct span, float *)) {
    const int64_t dealt = w->P < parts ? 1 : w->K; /* all heads of a prompt to one part: they lie together in memory */
    for (int64_t piece = 0; piece < w->P * w->K; piece++) {
        if (piece / dealt % parts != part) continue;
        const int64_t prompt = piece / w->K, head = piece % w->K, start = w->starts[prompt], length = w->lengths[prompt];
        done(w, (struct span){start, length, start, 0, head}, memory);
        for (int64_t i = w->completions[prompt]; i < w->completions[prompt + 1]; i++)
            done(w, (struct span){w->starts[i], w->lengths[i], start, length, head}, memory);
    }
}

/* No bit depends on how many parts there are. memory: [parts, room], room wide * D + tokens * g * (2 * D + wide) numbers,
   wide those of the longest span with its prompt, both rounded up. */
void packed_attention(const struct work *w, float *memory, int64_t room, int64_t parts) {
    EACH_PART each(w, part, parts, memory + part * room, forward);
}

/* room: 2 * wide * D + tokens * g * (3 * D + 2 * wide) numbers. */
void packed_attention_backward(const struct work *w, float *memory, int64_t room, int64_t parts) {
    EACH_PART each(w, part, parts, memory + part * room, backward);
}
