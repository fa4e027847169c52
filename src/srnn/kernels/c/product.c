/* Products of a (rows, K) matrix, often full of zeros, with a dense one.

   Every number of a result is one chain of fused multiply-adds in ascending k, begun at what the
   result holds already. A zero in A adds nothing to the chain, so that the gathered product (zeros
   skipped) and the dense one (blocked) are equal to the bit; so are any two groupings of the rows.
   B and C are padded: their rows have a multiple of VL numbers.

   One FMA a term, where the processor has it: add_product(). */

#include "srnn.h"
#if defined(__FMA__) || defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

/* c + a b in one rounding, by name where the processor has it: left to itself, GCC splits such
   chains on some processors (256-bit Zen), in one loop and not in another, and two groupings of a
   sum would differ. Without a fused instruction every one is split, so that they agree again. */
#if defined(__AVX512F__) && defined(DOUBLE)
static inline vec add_product(vec c, real a, vec b) {
    return (vec)_mm512_fmadd_pd(_mm512_set1_pd(a), (__m512d)b, (__m512d)c);
}
#elif defined(__AVX512F__)
static inline vec add_product(vec c, real a, vec b) {
    return (vec)_mm512_fmadd_ps(_mm512_set1_ps(a), (__m512)b, (__m512)c);
}
#elif defined(__FMA__) && defined(DOUBLE)
static inline vec add_product(vec c, real a, vec b) {
    return (vec)_mm256_fmadd_pd(_mm256_set1_pd(a), (__m256d)b, (__m256d)c);
}
#elif defined(__FMA__)
static inline vec add_product(vec c, real a, vec b) {
    return (vec)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c);
}
#else
static inline vec add_product(vec c, real a, vec b) { return c + a * b; }
#endif

/* ── dense: MR rows by NR vectors at a time, held in registers ── */

#define TILE(MR, NR)                                                                               \
    static void tile_##MR##_##NR(long K, const real *A, long si, long sk, const real *B, long ldb, \
                                 real *C, long ldc) {                                              \
        vec acc[MR][NR];                                                                           \
        for (int i = 0; i < MR; i++)                                                               \
            for (int j = 0; j < NR; j++) acc[i][j] = load(C + i * ldc + j * VL);                   \
        for (long k = 0; k < K; k++) {                                                             \
            vec b[NR];                                                                             \
            for (int j = 0; j < NR; j++) b[j] = load(B + k * ldb + j * VL);                        \
            for (int i = 0; i < MR; i++) {                                                         \
                const real a = A[i * si + k * sk];                                                 \
                for (int j = 0; j < NR; j++) acc[i][j] = add_product(acc[i][j], a, b[j]);          \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < MR; i++)                                                               \
            for (int j = 0; j < NR; j++) store(C + i * ldc + j * VL, acc[i][j]);                   \
    }
#define TILES(MR) TILE(MR, 3) TILE(MR, 2) TILE(MR, 1)
#if MR_MAX == 8
TILES(8)
#endif
TILES(4) TILES(2) TILES(1)

#define CALL(MR)                                                                        \
    (left >= 3 * VL ? tile_##MR##_3 : left >= 2 * VL ? tile_##MR##_2 : tile_##MR##_1)(  \
        K, A + i * si, si, sk, B + j, ldb, C + i * ldc + j, ldc)

/* C[i] += sum over k of A(i, k) B[k], where A(i, k) = A[i si + k sk]. */
static void dense(long rows, const real *A, long si, long sk, long K, const real *B, long ldb,
                  long N, real *C, long ldc) {
    for (long j = 0, left = N; left > 0;
         left = N - (j += left >= 3 * VL ? 3 * VL : left >= 2 * VL ? 2 * VL : VL))
        for (long i = 0; i < rows;) {
            const long r = rows - i;
#if MR_MAX == 8
            if (r >= 8) { CALL(8); i += 8; continue; }
#endif
            if (r >= 4) { CALL(4); i += 4; }
            else if (r >= 2) { CALL(2); i += 2; }
            else { CALL(1); i += 1; }
        }
}

/* ── gathered: only the n rows of B that are listed in `at`, with their factors ── */

#define GATHER(NR)                                                                              \
    static void gather_##NR(long n, const int *at, const real *factor, const real *B, long ldb, \
                            real *C) {                                                          \
        vec acc[NR];                                                                            \
        for (int j = 0; j < NR; j++) acc[j] = load(C + j * VL);                                 \
        for (long k = 0; k < n; k++) {                                                          \
            const real *b = B + at[k] * ldb;                                                    \
            const real a = factor[k];                                                           \
            for (int j = 0; j < NR; j++) acc[j] = add_product(acc[j], a, load(b + j * VL));     \
        }                                                                                       \
        for (int j = 0; j < NR; j++) store(C + j * VL, acc[j]);                                 \
    }
GATHER(8) GATHER(4) GATHER(3) GATHER(2) GATHER(1)

static void gather(long n, const int *at, const real *factor, const real *B, long ldb, long N,
                   real *C) {
    static void (*const by[])(long, const int *, const real *, const real *, long, real *) = {
        0, gather_1, gather_2, gather_3, gather_4, gather_4, gather_4, gather_4, gather_8};
    static const int width[] = {0, 1, 2, 3, 4, 4, 4, 4, 8};
    if (n == 0) return;
    for (long j = 0; j < N;) {
        const long left = (N - j) / VL, pick = left > 8 ? 8 : left;
        by[pick](n, at, factor, B + j, ldb, C + j);
        j += width[pick] * VL;
    }
}

/* List what is not zero in a[0 … n), ascending: places in `at`, numbers in `factor` (each n +
   LIST_SLACK long); return how many. */
static long nonzeros(const real *a, long n, int *at, real *factor) {
    long found = 0, i = 0;
#if defined(__AVX512F__) && !defined(DOUBLE)
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; i < n; i += 16) {
        const __mmask16 in = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : (__mmask16)0xffff;
        const __m512 v = _mm512_maskz_loadu_ps(in, a + i);
        const __mmask16 m = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        if (m == 0) continue;
        _mm512_storeu_si512(
            at + found,
            _mm512_maskz_compress_epi32(m, _mm512_add_epi32(first, _mm512_set1_epi32((int)i))));
        _mm512_storeu_ps(factor + found, _mm512_maskz_compress_ps(m, v));
        found += __builtin_popcount(m);
    }
#elif defined(__AVX2__) && !defined(DOUBLE)
    for (; i + 8 <= n; i += 8)
        for (unsigned m = (unsigned)_mm256_movemask_ps(
                 _mm256_cmp_ps(_mm256_loadu_ps(a + i), _mm256_setzero_ps(), _CMP_NEQ_UQ));
             m; m &= m - 1) {
            at[found] = (int)(i + __builtin_ctz(m));
            factor[found] = a[at[found]];
            found++;
        }
#endif
    for (; i < n; i++) {
        at[found] = (int)i;
        factor[found] = a[i];
        found += a[i] != 0;
    }
    return found;
}

/* C[r] += A[r] B for rows r of A (rows, K), lda apart, and of C (rows, N), ldc apart; B (K, N)
   padded. `sparse` (SPARSE_*) decides, AUTO by counting. lists: room for MR_MAX rows
   (list_room(K)). */
void product(long rows, const real *A, long lda, long K, const real *B, long ldb, long N, real *C,
             long ldc, int sparse, void *lists) {
    const long room = K + LIST_SLACK;
    real *factor = lists;
    int *at = (int *)(factor + MR_MAX * room);
    long count[MR_MAX];
    for (long r0 = 0; r0 < rows; r0 += MR_MAX) {
        const long block = rows - r0 < MR_MAX ? rows - r0 : MR_MAX;
        const real *a = A + r0 * lda;
        long all = 0;
        if (sparse != SPARSE_NEVER)
            for (long r = 0; r < block; r++)
                all += count[r] = nonzeros(a + r * lda, K, at + r * room, factor + r * room);
        if (sparse == SPARSE_NEVER || (sparse == SPARSE_AUTO && all * DENSE_FROM > block * K))
            dense(block, a, lda, 1, K, B, ldb, N, C + r0 * ldc, ldc);
        else
            for (long r = 0; r < block; r++)
                gather(count[r], at + r * room, factor + r * room, B, ldb, N, C + (r0 + r) * ldc);
    }
}

/* C[m] += sum over rows r of A(r, m) D[r]: `rows` rows of A (M wide, pointers) and of D (N wide,
   padded, ldd apart), C (M, N) padded. A row of A may be NULL: it adds nothing. lists:
   outer_room(rows, M) bytes. */
void outer(long rows, const real *const *A, long M, const real *D, long ldd, long N, real *C,
           long ldc, int sparse, void *lists) {
    real *value = lists, *factor = value + M + LIST_SLACK;
    int *count = (int *)(factor + M * rows), *found = count + M, *column = found + M + LIST_SLACK;
    long all = 0;
    /* C stays in the first cache: row by row as they come */
    if (sparse != SPARSE_NEVER && M * N * (long)sizeof(real) <= NEAR_BYTES) {
        for (long r = 0; r < rows; r++) {
            const long n = A[r] ? nonzeros(A[r], M, found, value) : 0;
            for (long k = 0; k < n; k++) {
                const real a = value[k];
                real *c = C + found[k] * ldc;
                for (long i = 0; i < N; i += VL)
                    store(c + i, add_product(load(c + i), a, load(D + r * ldd + i)));
            }
        }
        return;
    }
    for (long m = 0; m < M; m++) count[m] = 0;
    for (long r = 0; r < rows; r++) {
        const long n = A[r] ? nonzeros(A[r], M, found, value) : 0;
        for (long k = 0; k < n; k++) {
            const long at = found[k] * rows + count[found[k]]++;
            column[at] = (int)r;
            factor[at] = value[k];
        }
        all += n;
    }
    if (sparse == SPARSE_ALWAYS || (sparse == SPARSE_AUTO && all * DENSE_FROM <= rows * M)) {
        /* a strip of D that stays in the first cache */
        for (long n = 0, width; n < N; n += width) {
            width = N - n < 4 * VL ? N - n : 4 * VL;
            for (long m = 0; m < M; m++)
                gather(count[m], column + m * rows, factor + m * rows, D + n, ldd, width,
                       C + m * ldc + n);
        }
        return;
    }
    real *a = factor; /* the factors are not needed: room for the rows of A, side by side */
    for (long r = 0; r < rows; r++)
        if (A[r]) memcpy(a + r * M, A[r], (size_t)M * sizeof(real));
        else memset(a + r * M, 0, (size_t)M * sizeof(real));
    dense(M, a, 1, M, rows, D, ldd, N, C, ldc);
}

/* Copy B(k, n) = B[k sk + n sn] into rows ld apart, zeros behind. */
void pack(const real *B, long K, long N, long sk, long sn, real *out, long ld) {
    for (long k = 0; k < K; k++) {
        for (long n = 0; n < N; n++) out[k * ld + n] = B[k * sk + n * sn];
        for (long n = N; n < padded(N); n++) out[k * ld + n] = 0;
    }
}

/* out (N, M) = the sum of `parts` matrices (M, ld), `size` numbers apart, in order, transposed. */
void sum_parts(const real *part, long parts, long size, long M, long N, long ld, real *out) {
    for (long n0 = 0; n0 < N; n0 += 16)
        for (long m = 0; m < M; m++)
            for (long n = n0; n < N && n < n0 + 16; n++) {
                real sum = part[m * ld + n];
                for (long p = 1; p < parts; p++) sum += part[p * size + m * ld + n];
                out[n * M + m] = sum;
            }
}

/* ── the feed-forward product alone, for layers that normalise it: y = b + x W^T ── */

typedef struct {
    const real *x, *B, *b, *D;
    real *y, *partial;
    long rows, C, N, NP, parts, size;
    int sparse;
} linear_job;

static void linear_block(void *given, long block) {
    const linear_job *j = given;
    const long r0 = block * LINEAR_ROWS;
    const long r1 = r0 + LINEAR_ROWS < j->rows ? r0 + LINEAR_ROWS : j->rows;
    real *c = allocate((size_t)(MR_MAX * j->NP) * sizeof(real));
    void *lists = allocate(list_room(j->C));
    for (long r = r0; r < r1; r += MR_MAX) {
        const long rows = r1 - r < MR_MAX ? r1 - r : MR_MAX;
        for (long i = 0; i < rows; i++)
            for (long n = 0; n < j->NP; n++) c[i * j->NP + n] = j->b && n < j->N ? j->b[n] : 0;
        product(rows, j->x + r * j->C, j->C, j->C, j->B, j->NP, j->NP, c, j->NP, j->sparse, lists);
        for (long i = 0; i < rows; i++) copy(j->y + (r + i) * j->N, c + i * j->NP, j->N);
    }
    free(c);
    free(lists);
}

/* y (rows, N) = b + x (rows, C) W(c, n), where W(c, n) = W[c sc + n sn]. */
void linear(const real *x, const real *W, long sc, long sn, const real *b, real *y, long rows,
            long C, long N, int sparse, int threads) {
    linear_job j = {.x = x, .b = b, .y = y, .rows = rows, .C = C, .N = N, .NP = padded(N),
                    .sparse = sparse};
    real *B = allocate((size_t)(C * j.NP) * sizeof(real));
    pack(W, C, N, sc, sn, B, j.NP);
    j.B = B;
    team(linear_block, &j, (rows + LINEAR_ROWS - 1) / LINEAR_ROWS, threads);
    free(B);
}

static void linear_part(void *given, long part) {
    const linear_job *j = given;
    long r = j->rows * part / j->parts;
    const long end = j->rows * (part + 1) / j->parts;
    real *C = j->partial + part * j->size, *sum = C + j->C * j->NP;
    real *d = allocate((size_t)(LINEAR_ROWS * j->NP) * sizeof(real));
    const real *A[LINEAR_ROWS];
    void *lists = allocate(outer_room(LINEAR_ROWS, j->C));
    memset(C, 0, (size_t)j->size * sizeof(real));
    for (long rows; r < end; r += rows) {
        rows = end - r < LINEAR_ROWS ? end - r : LINEAR_ROWS;
        for (long i = 0; i < rows; i++) {
            A[i] = j->x + (r + i) * j->C;
            spread(d + i * j->NP, j->D + (r + i) * j->N, j->N, j->NP, 0);
            for (long n = 0; n < j->NP; n++) sum[n] += d[i * j->NP + n];
        }
        outer(rows, A, j->C, d, j->NP, j->NP, C, j->NP, j->sparse, lists);
    }
    free(d);
    free(lists);
}

/* g_W (N, C) = D^T x and g_b (N) = the sum of D (rows, N), if not NULL. Cut into parts that depend
   on the shape alone: the same bits on any threads. */
void linear_gradients(const real *x, const real *D, real *g_W, real *g_b, long rows, long C, long N,
                      int sparse, int threads) {
    linear_job j = {.x = x, .D = D, .rows = rows, .C = C, .N = N, .NP = padded(N),
                    .sparse = sparse};
    j.size = (C + 1) * j.NP;
    j.parts = parts_for(rows / 512 + 1, j.size);
    j.partial = allocate((size_t)(j.parts * j.size) * sizeof(real));
    team(linear_part, &j, j.parts, threads);
    sum_parts(j.partial, j.parts, j.size, C, N, j.NP, g_W);
    if (g_b) sum_parts(j.partial + C * j.NP, j.parts, j.size, 1, N, j.NP, g_b);
    free(j.partial);
}
