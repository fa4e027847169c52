/* A stack of layers, step by step, forward only: what a stream runs. Weights are packed once, the
   state stays packed between calls, nothing is allocated.

   Every recording of a step goes through all layers before the next step. The products are those of
   the whole sequence, row by row the same chains of multiply-adds, and so is the printed step: the
   bits are those of scan_forward(), however the sequence is cut. */

#include "srnn.h"

/* A layer. W^T (C, G NP), b (G NP), R^T (N, G NP) and the constants (numbers + derived, NP) are
   padded to whole vectors; W and b, or R, may be NULL. Without W, what comes in is the input
   current (G N numbers). state: (S + 1, B, NP), the neuron's states, then s. Scratch: I (G, B, NP),
   pot (B, NP). */
typedef struct {
    neuron_t neuron;
    long C, N, G, S, NP;
    const real *W, *b, *R, *c;
    real *state, *I, *pot;
} steps_layer_t;

/* x (B, T, C); lengths (B) or NULL: the steps of each that are valid. potential, output: (B, T, N)
   of the last layer, 0 beyond a length. lists: `room` bytes for each tile of recordings. */
typedef struct {
    long B, T, layers, room;
    const steps_layer_t *layer;
    const real *x;
    const int64_t *lengths;
    real *potential, *output;
    char *lists;
    int sparse, threads, check;
} steps_t;

/* One layer, one step, the recordings of a tile; `from` rows are `apart` numbers apart. */
static void steps_layer(const steps_layer_t *k, long B, long b0, long rows,
                        const unsigned char *live, const real *from, long apart, int sparse,
                        void *lists) {
    const long NP = k->NP, GP = k->G * NP, plane = B * NP;
    real *I = k->I + b0 * NP, *h = k->state + b0 * NP, *s = h + k->S * plane;
    for (long g = 0; g < k->G; g++) {
        real *to = I + g * plane;
        for (long r = 0; r < rows; r++)
            if (k->W == NULL) spread(to + r * NP, from + r * apart + g * k->N, k->N, NP, 0);
            else if (k->b) copy(to + r * NP, k->b + g * NP, NP);
            else memset(to + r * NP, 0, (size_t)NP * sizeof(real));
        if (k->W) product(rows, from, apart, k->C, k->W + g * NP, GP, NP, to, NP, sparse, lists);
        if (k->R) product(rows, s, NP, k->N, k->R + g * NP, GP, NP, to, NP, sparse, lists);
    }
    k->neuron.step(rows, live, NP, plane, k->c, I, s, h, k->pot + b0 * NP);
}

static void steps_tile(void *given, long index) {
    const steps_t *j = given;
    const long B = j->B, T = j->T, b0 = index * TILE_ROWS;
    const long rows = B - b0 < TILE_ROWS ? B - b0 : TILE_ROWS;
    const steps_layer_t *first = j->layer, *last = j->layer + j->layers - 1;
    const long width = first->W ? first->C : first->G * first->N;
    void *lists = j->lists + index * j->room;
    unsigned char live[TILE_ROWS];
    for (long t = 0; t < T; t++) {
        long alive = 0;
        for (long r = 0; r < rows; r++) alive += live[r] = !j->lengths || t < j->lengths[b0 + r];
        if (alive) {
            steps_layer(first, B, b0, rows, live, j->x + (b0 * T + t) * width, T * width, j->sparse,
                        lists);
            for (const steps_layer_t *k = first + 1; k <= last; k++)
                steps_layer(k, B, b0, rows, live, k[-1].state + (k[-1].S * B + b0) * k[-1].NP,
                            k[-1].NP, j->sparse, lists);
        }
        for (long r = 0; r < rows; r++) {
            real *potential = j->potential + ((b0 + r) * T + t) * last->N;
            real *output = j->output + ((b0 + r) * T + t) * last->N;
            if (live[r]) {
                copy(potential, last->pot + (b0 + r) * last->NP, last->N);
                copy(output, last->state + (last->S * B + b0 + r) * last->NP, last->N);
            } else {
                memset(potential, 0, (size_t)last->N * sizeof(real));
                memset(output, 0, (size_t)last->N * sizeof(real));
            }
        }
    }
}

/* Whether n numbers are all finite: the exponent's bits are not all set. */
static int all_finite(const real *x, long n) {
#ifdef DOUBLE
    typedef uint64_t bits;
    const bits exponent = (bits)0x7ff << 52;
#else
    typedef uint32_t bits;
    const bits exponent = (bits)0xff << 23;
#endif
    bits bad = 0;
    for (long i = 0; i < n; i++) {
        bits b;
        memcpy(&b, x + i, sizeof b);
        bad |= (b & exponent) == exponent;
    }
    return !bad;
}

long steps_size(void) { return sizeof(steps_t) + sizeof(steps_layer_t); }
long steps_padded(long n) { return padded(n); }
long steps_room(long K) { return ((long)list_room(K) + 63) / 64 * 64; }
long steps_tiles(long B) { return (B + TILE_ROWS - 1) / TILE_ROWS; }

/* Run. Returns 0, or with `check`, and without having changed anything, 1 + b T + t where recording
   b is not finite at its valid step t. */
long steps_run(const steps_t *j) {
    const long width = j->layer->W ? j->layer->C : j->layer->G * j->layer->N;
    for (long b = 0; j->check && b < j->B; b++) {
        const long n = j->lengths ? (long)j->lengths[b] : j->T;
        if (all_finite(j->x + b * j->T * width, n * width)) continue;
        for (long t = 0; t < n; t++)
            if (!all_finite(j->x + (b * j->T + t) * width, width)) return 1 + b * j->T + t;
    }
    team(steps_tile, (void *)j, steps_tiles(j->B), j->threads);
    return 0;
}
