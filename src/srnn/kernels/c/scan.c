/* One layer over time, forward and backward, around a neuron's printed step.

   Recordings are cut into tiles of TILE_ROWS; a thread takes a tile through all steps, `every` of
   them at a time: input current, loop, results. What belongs to one step of a tile is a plane:
   (TILE_ROWS, NP), NP = N padded to whole vectors. Padded neurons compute, nobody reads them.
   Backward, a thread takes a part: tiles one after the other, whose gradients of weights it adds
   up. Tiles and parts depend on the shape alone and are added in order, so that results are
   bit-equal whatever the number of threads. */

#include "srnn.h"

void product(long, const real *, long, long, const real *, long, long, real *, long, int, void *);
void outer(long, const real *const *, long, const real *, long, long, real *, long, int, void *);
void pack(const real *, long, long, long, long, real *, long);
void sum_parts(const real *, long, long, long, long, long, real *);

#define TILE_ROWS 8
#define EVERY_MAX 32

/* What the printer prints for a neuron and its activation, one call a step for all recordings of a
   tile; `live` marks those within their length. States, and the gates of I, are `plane` numbers
   apart. s and h come in as of t-1 and go out as of t; adjoint puts the gradient of I in its
   place. */
typedef struct {
    /* fill what depends on constants alone, behind the constants */
    void (*prepare)(long NP, real *c);
    void (*step)(long rows, const unsigned char *live, long NP, long plane, const real *c,
                 const real *I, real *s, real *h, real *pot);
    void (*advance)(long rows, const unsigned char *live, long NP, long plane, const real *c,
                    const real *I, const real *s, const real *h, real *next);
    void (*adjoint)(long rows, const unsigned char *live, long NP, long plane, const real *c,
                    real *I, const real *s, const real *h, const real *now, const real *gout,
                    const real *gpot, real *gs, real *gh, real *gc);
} neuron_t;

/* A layer to run.

   x (B, T, C) with weight (G N, C) and bias (G N) or NULL, the input current being weight x + bias;
   or, without weight, x (B, T, G N) is that current. recurrent (G N, N) or NULL; constants
   (numbers, N), the neuron's Q coefficients first; state (S + 1, B, N): states, then s; lengths (B)
   or NULL.
   Forward writes output (B, T, N), potential (B, T, N) or NULL, final (S + 1, B, N), and
   for backward, or NULL: kept (segments, S, B, N), the states every `every` steps, and total (B, T,
   G N), the whole input current.
   Backward reads these, and the gradients of the results (NULL = 0); it writes g_x (NULL = not
   wanted), g_weight, g_bias, g_recurrent (NULL where there is none), g_constants (Q, N) and
   g_state. */
typedef struct {
    neuron_t neuron;
    long B, T, C, N, G, S, numbers, Q, derived, every;
    const real *x, *weight, *bias, *recurrent, *constants, *state;
    const int64_t *lengths;
    real *output, *potential, *final, *kept, *total;
    const real *g_output, *g_potential, *g_final;
    real *g_x, *g_weight, *g_bias, *g_recurrent, *g_constants, *g_state;
    int sparse, threads;
    /* worked out here */
    long NP, CP, plane, tiles, parts, size;
    real *c, *W, *R, *partial;
    double *g_c;
} scan_t;

static void prepared(scan_t *j, int backward) {
    const long G = j->G, N = j->N, C = j->C, NP = padded(N), GP = G * NP;
    j->NP = NP;
    j->CP = padded(C);
    j->plane = TILE_ROWS * NP;
    j->tiles = (j->B + TILE_ROWS - 1) / TILE_ROWS;
    j->c = allocate((size_t)((j->numbers + j->derived) * NP) * sizeof(real));
    for (long i = 0; i < j->numbers; i++)
        spread(j->c + i * NP, j->constants + i * N, N, NP, j->constants[i * N + N - 1]);
    j->neuron.prepare(NP, j->c);
    /* forward, W^T (C, G NP) and R^T (N, G NP): a row for each spike; backward, W (G N, CP) and R
       (G N, NP) */
    j->W = j->R = NULL;
    if (j->weight && !backward) {
        j->W = allocate((size_t)(C * GP) * sizeof(real));
        for (long g = 0; g < G; g++) pack(j->weight + g * N * C, C, N, 1, C, j->W + g * NP, GP);
    } else if (j->weight && j->g_x) {
        j->W = allocate((size_t)(G * N * j->CP) * sizeof(real));
        pack(j->weight, G * N, C, C, 1, j->W, j->CP);
    }
    if (j->recurrent && !backward) {
        j->R = allocate((size_t)(N * GP) * sizeof(real));
        for (long g = 0; g < G; g++) pack(j->recurrent + g * N * N, N, N, 1, N, j->R + g * NP, GP);
    } else if (j->recurrent) {
        j->R = allocate((size_t)(G * N * NP) * sizeof(real));
        pack(j->recurrent, G * N, N, N, 1, j->R, NP);
    }
}

static void released(scan_t *j) {
    free(j->c);
    free(j->W);
    free(j->R);
}

/* One tile: its recordings, how long they are, and the longest. */
typedef struct {
    long b0, rows, until, length[TILE_ROWS];
    unsigned char live[TILE_ROWS];
} tile_t;

static tile_t tile_of(const scan_t *j, long index) {
    tile_t t = {.b0 = index * TILE_ROWS};
    t.rows = j->B - t.b0 < TILE_ROWS ? j->B - t.b0 : TILE_ROWS;
    for (long r = 0; r < t.rows; r++) {
        t.length[r] = j->lengths ? (long)j->lengths[t.b0 + r] : j->T;
        /* unchecked under torch.compile */
        if (t.length[r] < 0 || t.length[r] > j->T) t.length[r] = t.length[r] < 0 ? 0 : j->T;
        if (t.length[r] > t.until) t.until = t.length[r];
    }
    return t;
}

static const unsigned char *live_at(tile_t *t, long step) {
    for (long r = 0; r < t->rows; r++) t->live[r] = step < t->length[r];
    return t->live;
}

/* How many of the steps [step, step + steps) recording r has. */
static long live_steps(const tile_t *t, long r, long step, long steps) {
    const long left = t->length[r] - step;
    return left < 0 ? 0 : left < steps ? left : steps;
}

static void load_states(const scan_t *j, const tile_t *t, const real *from, long count, real *h) {
    for (long i = 0; i < count; i++)
        for (long r = 0; r < t->rows; r++)
            spread(h + i * j->plane + r * j->NP, from + (i * j->B + t->b0 + r) * j->N, j->N,
                   j->NP, 0);
}

static void store_states(const scan_t *j, const tile_t *t, const real *h, long count, real *to) {
    for (long i = 0; i < count; i++)
        for (long r = 0; r < t->rows; r++)
            copy(to + (i * j->B + t->b0 + r) * j->N, h + i * j->plane + r * j->NP, j->N);
}

/* Steps [step, step + steps) of an array (B, T, parts N), and the planes (steps, parts, TILE_ROWS,
   NP), recording by recording: long runs of memory. */
static void load_steps(const scan_t *j, const tile_t *t, const real *from, long step, long steps,
                       long parts, real *to) {
    for (long r = 0; r < t->rows; r++) {
        const long live = live_steps(t, r, step, steps) * parts;
        const real *row = from + ((t->b0 + r) * j->T + step) * parts * j->N;
        for (long k = 0; k < live; k++)
            spread(to + k * j->plane + r * j->NP, row + k * j->N, j->N, j->NP, 0);
        /* mostly called backward in time */
        if (step >= j->every) fetch(row - j->every * parts * j->N, j->every * parts * j->N);
    }
}

static void store_steps(const scan_t *j, const tile_t *t, const real *from, long step, long steps,
                        long parts, real *to) {
    for (long r = 0; r < t->rows; r++) {
        const long live = live_steps(t, r, step, steps) * parts;
        for (long k = 0; k < live; k++)
            copy(to + (((t->b0 + r) * j->T + step) * parts + k) * j->N,
                 from + k * j->plane + r * j->NP, j->N);
    }
}

/* Zeros in an array (B, T, width) where the recordings of a tile have ended. */
static void clear_rest(const scan_t *j, const tile_t *t, long width, real *to) {
    for (long r = 0; r < t->rows; r++)
        memset(to + ((t->b0 + r) * j->T + t->length[r]) * width, 0,
               (size_t)((j->T - t->length[r]) * width) * sizeof(real));
}

/* I = W x + b for some steps. */
static void input_current(const scan_t *j, const tile_t *t, long step, long steps, real *I,
                          void *lists) {
    const long G = j->G, N = j->N, NP = j->NP, C = j->C;
    if (j->W == NULL) {
        load_steps(j, t, j->x, step, steps, G, I);
        return;
    }
    for (long r = 0; r < t->rows; r++) {
        const long live = live_steps(t, r, step, steps);
        const real *x = j->x + ((t->b0 + r) * j->T + step) * C;
        if (step + 2 * steps <= j->T) fetch(x + steps * C, steps * C);
        for (long g = 0; g < G; g++) {
            real *to = I + g * j->plane + r * NP;
            for (long k = 0; k < live; k++)
                if (j->bias) spread(to + k * G * j->plane, j->bias + g * N, N, NP, 0);
                else memset(to + k * G * j->plane, 0, (size_t)NP * sizeof(real));
            product(live, x, C, C, j->W + g * NP, G * NP, NP, to, G * j->plane, j->sparse, lists);
        }
    }
}

static void forward_tile(void *given, long index) {
    const scan_t *j = given;
    const long plane = j->plane, S = j->S, G = j->G, NP = j->NP, K = j->every;
    const long SBN = S * j->B * j->N;
    tile_t t = tile_of(j, index);
    /* states and s; of K steps: current, output, potential */
    real *h = allocate((size_t)((S + 1 + K * (G + 2)) * plane) * sizeof(real));
    real *s = h + S * plane, *I = s + plane;
    real *output = I + K * G * plane, *potential = output + K * plane;
    void *lists = allocate(list_room(j->C > j->N ? j->C : j->N));
    load_states(j, &t, j->state, S + 1, h);
    for (long step = 0; step < t.until; step += K) {
        const long steps = t.until - step < K ? t.until - step : K;
        if (j->kept) store_states(j, &t, h, S, j->kept + step / K * SBN);
        input_current(j, &t, step, steps, I, lists);
        for (long k = 0; k < steps; k++) {
            real *now = I + k * G * plane;
            if (j->R)
                for (long g = 0; g < G; g++)
                    product(t.rows, s, NP, j->N, j->R + g * NP, G * NP, NP, now + g * plane, NP,
                            j->sparse, lists);
            j->neuron.step(t.rows, live_at(&t, step + k), NP, plane, j->c, now, s, h,
                           potential + k * plane);
            copy(output + k * plane, s, t.rows * NP);
        }
        store_steps(j, &t, output, step, steps, 1, j->output);
        if (j->potential) store_steps(j, &t, potential, step, steps, 1, j->potential);
        if (j->total) store_steps(j, &t, I, step, steps, G, j->total);
    }
    clear_rest(j, &t, j->N, j->output);
    if (j->potential) clear_rest(j, &t, j->N, j->potential);
    /* nobody reads it, nor the states beyond the longest recording: set all the same */
    if (j->total) clear_rest(j, &t, G * j->N, j->total);
    if (j->kept)
        for (long k = (t.until + K - 1) / K; k * K < j->T; k++)
            store_states(j, &t, h, S, j->kept + k * SBN);
    store_states(j, &t, h, S + 1, j->final);
    free(h);
    free(lists);
}

/* Sums of a part: of W^T (C, G NP), R^T (N, G NP) and b (G NP), each where there is one. */
static real *sum_of_weight(const scan_t *j, long part) { return j->partial + part * j->size; }
static real *sum_of_recurrent(const scan_t *j, long part) {
    return sum_of_weight(j, part) + (j->weight ? j->C * j->G * j->NP : 0);
}
static real *sum_of_bias(const scan_t *j, long part) {
    return sum_of_recurrent(j, part) + (j->recurrent ? j->N * j->G * j->NP : 0);
}

/* The gradients of a segment's weights: I holds the gradients of its currents, s the outputs before
   its steps. */
static void add_weights(const scan_t *j, const tile_t *t, long part, long step, long steps,
                        const real *I, const real *s, void *lists) {
    /* with gates, the rows of one gate are apart */
    const long G = j->G, NP = j->NP, plane = j->plane, together = G == 1 ? steps : 1;
    const real *A[EVERY_MAX * TILE_ROWS];
    real *b = sum_of_bias(j, part);
    for (long k = 0; k < steps; k += together)
        for (long g = 0; g < G; g++) {
            const real *D = I + (k * G + g) * plane;
            const long rows = (together - 1) * TILE_ROWS + t->rows;
            if (j->weight) {
                for (long i = 0; i < rows; i++) {
                    const long r = i % TILE_ROWS, at = step + k + i / TILE_ROWS;
                    A[i] = r < t->rows && at < t->length[r]
                               ? j->x + ((t->b0 + r) * j->T + at) * j->C
                               : NULL;
                }
                outer(rows, A, j->C, D, NP, NP, sum_of_weight(j, part) + g * NP, G * NP, j->sparse,
                      lists);
            }
            if (j->recurrent) {
                for (long i = 0; i < rows; i++) {
                    const long r = i % TILE_ROWS, at = step + k + i / TILE_ROWS;
                    A[i] = r < t->rows && at < t->length[r] ? s + k * plane + i * NP : NULL;
                }
                outer(rows, A, j->N, D, NP, NP, sum_of_recurrent(j, part) + g * NP, G * NP,
                      j->sparse, lists);
            }
            if (j->g_bias)
                for (long i = 0; i < rows; i++)
                    if (i % TILE_ROWS < t->rows)
                        for (long n = 0; n < NP; n++) b[g * NP + n] += D[i * NP + n];
        }
}

/* The gradient of x for a segment: strips of W, each for all rows while it is near. below:
   (TILE_ROWS, steps, CP). */
static void add_input(const scan_t *j, const tile_t *t, long step, long steps, const real *I,
                      real *below, void *lists) {
    const long CP = j->CP, strip = 3 * VL;
    if (j->W == NULL) {
        store_steps(j, t, I, step, steps, j->G, j->g_x);
        return;
    }
    memset(below, 0, (size_t)(TILE_ROWS * steps * CP) * sizeof(real));
    for (long c = 0; c < CP; c += strip)
        for (long r = 0; r < t->rows; r++)
            for (long g = 0; g < j->G; g++)
                product(live_steps(t, r, step, steps), I + g * j->plane + r * j->NP,
                        j->G * j->plane, j->N, j->W + g * j->N * CP + c, CP,
                        CP - c < strip ? CP - c : strip, below + r * steps * CP + c, CP,
                        SPARSE_NEVER, lists);
    for (long r = 0; r < t->rows; r++)
        for (long k = 0; k < live_steps(t, r, step, steps); k++)
            copy(j->g_x + ((t->b0 + r) * j->T + step + k) * j->C, below + (r * steps + k) * CP,
                 j->C);
}

static void backward_tile(const scan_t *j, long part, long index, real *h, void *lists) {
    const long N = j->N, NP = j->NP, plane = j->plane, S = j->S, G = j->G, K = j->every;
    const long SBN = S * j->B * N;
    tile_t t = tile_of(j, index);
    /* of K steps: states before each, s before each and after the last, current, gradient of
       output, of potential (one plane of zeros where it has none); then what travels back */
    real *s = h + K * S * plane, *I = s + (K + 1) * plane;
    real *gout = I + K * G * plane, *gpot = gout + K * plane;
    real *gh = gpot + (j->g_potential ? K : 1) * plane, *gs = gh + S * plane, *gc = gs + plane;
    real *below = gc + j->Q * NP;
    memset(h, 0, (size_t)(gc - h) * sizeof(real)); /* rows that no recording has stay zero */
    /* gs lies behind gh, as s behind the states */
    if (j->g_final) load_states(j, &t, j->g_final, S + 1, gh);
    double *sums = j->g_c + index * j->Q * NP;
    memset(sums, 0, (size_t)(j->Q * NP) * sizeof(double));
    for (long step = (t.until + K - 1) / K * K - K; step >= 0; step -= K) {
        const long steps = t.until - step < K ? t.until - step : K;
        load_states(j, &t, j->kept + step / K * SBN, S, h);
        if (step) load_steps(j, &t, j->output, step - 1, steps + 1, 1, s);
        else {
            load_states(j, &t, j->state + SBN, 1, s);
            load_steps(j, &t, j->output, 0, steps, 1, s + plane);
        }
        load_steps(j, &t, j->total, step, steps, G, I);
        if (j->g_output) load_steps(j, &t, j->g_output, step, steps, 1, gout);
        if (j->g_potential) load_steps(j, &t, j->g_potential, step, steps, 1, gpot);
        for (long k = 0; k + 1 < steps; k++) /* the states again */
            j->neuron.advance(t.rows, live_at(&t, step + k), NP, plane, j->c, I + k * G * plane,
                              s + k * plane, h + k * S * plane,
                              h + (k + 1) * S * plane);
        memset(gc, 0, (size_t)(j->Q * NP) * sizeof(real));
        for (long k = steps - 1; k >= 0; k--) {
            const unsigned char *live = live_at(&t, step + k);
            real *gI = I + k * G * plane; /* the gradient of a current takes its place */
            j->neuron.adjoint(t.rows, live, NP, plane, j->c, gI, s + k * plane, h + k * S * plane,
                              s + (k + 1) * plane, gout + k * plane,
                              gpot + (j->g_potential ? k : 0) * plane, gs, gh, gc);
            /* runs of live recordings: what travels back to the others waits as it is */
            for (long r = 0, n; r < t.rows; r += n) {
                for (n = 0; r + n < t.rows && live[r + n] == live[r]; n++) {}
                for (long g = 0; g < G; g++) {
                    if (!live[r])
                        memset(gI + g * plane + r * NP, 0, (size_t)(n * NP) * sizeof(real));
                    else if (j->R)
                        product(n, gI + g * plane + r * NP, NP, N, j->R + g * N * NP, NP, NP,
                                gs + r * NP, NP, SPARSE_NEVER, lists);
                }
            }
        }
        if (j->size) add_weights(j, &t, part, step, steps, I, s, lists);
        if (j->g_x) add_input(j, &t, step, steps, I, below, lists);
        for (long i = 0; i < j->Q * NP; i++) sums[i] += gc[i];
    }
    if (j->g_x) clear_rest(j, &t, j->C, j->g_x);
    store_states(j, &t, gh, S + 1, j->g_state);
}

static void backward_part(void *given, long part) {
    const scan_t *j = given;
    const long K = j->every, S = j->S, M = j->C > j->N ? j->C : j->N;
    const long planes = K * (S + 1 + j->G + 2) + 1 + S + 1;
    const size_t one = list_room(M), other = outer_room(K * TILE_ROWS, M);
    real *scratch = allocate(
        (size_t)(planes * j->plane + j->Q * j->NP + TILE_ROWS * K * j->CP) * sizeof(real));
    void *lists = allocate(one > other ? one : other);
    memset(sum_of_weight(j, part), 0, (size_t)j->size * sizeof(real));
    for (long tile = j->tiles * part / j->parts; tile < j->tiles * (part + 1) / j->parts; tile++)
        backward_tile(j, part, tile, scratch, lists);
    free(scratch);
    free(lists);
}

long scan_size(void) { return sizeof(scan_t); }

void scan_forward(scan_t *j) {
    prepared(j, 0);
    team(forward_tile, j, j->tiles, j->threads);
    released(j);
}

void scan_backward(scan_t *j) {
    prepared(j, 1);
    const long G = j->G, N = j->N, GP = G * j->NP;
    j->size = (j->weight ? j->C * GP : 0) + (j->recurrent ? N * GP : 0) + (j->g_bias ? GP : 0);
    j->parts = j->size ? parts_for(j->tiles, j->size) : j->tiles;
    j->partial = allocate((size_t)(j->parts * j->size) * sizeof(real));
    j->g_c = allocate((size_t)(j->tiles * j->Q * j->NP) * sizeof(double));
    team(backward_part, j, j->parts, j->threads);
    for (long i = 0; i < j->Q; i++)
        for (long n = 0; n < N; n++) {
            double sum = 0;
            for (long tile = 0; tile < j->tiles; tile++)
                sum += j->g_c[(tile * j->Q + i) * j->NP + n];
            j->g_constants[i * N + n] = (real)sum;
        }
    for (long g = 0; g < G; g++) {
        if (j->weight)
            sum_parts(sum_of_weight(j, 0) + g * j->NP, j->parts, j->size, j->C, N, GP,
                      j->g_weight + g * N * j->C);
        if (j->recurrent)
            sum_parts(sum_of_recurrent(j, 0) + g * j->NP, j->parts, j->size, N, N, GP,
                      j->g_recurrent + g * N * N);
        if (j->g_bias)
            sum_parts(sum_of_bias(j, 0) + g * j->NP, j->parts, j->size, 1, N, GP,
                      j->g_bias + g * N);
    }
    free(j->partial);
    free(j->g_c);
    released(j);
}
