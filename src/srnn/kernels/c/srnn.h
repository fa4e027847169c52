/* What the kernels share: the number type, the width of a vector, memory, threads. */

#ifndef SRNN_H
#define SRNN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef DOUBLE
typedef double real;
#else
typedef float real;
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define VL ((long)(VECTOR_BYTES / sizeof(real))) /* numbers in a vector */
#if defined(__AVX512F__) || defined(__aarch64__)
#define MR_MAX 8 /* rows of the dense product held in registers: 32 registers */
#else
#define MR_MAX 4 /* 16 registers */
#endif

#define SPARSE_AUTO 0
#define SPARSE_ALWAYS 1
#define SPARSE_NEVER 2
#define DENSE_FROM 3       /* a product is dense when more than 1 / DENSE_FROM of A is not zero */
#define LIST_SLACK 16      /* room behind a list, so that it may be written in whole vectors */
#define NEAR_BYTES 16384   /* half of a small first cache */
#define LINEAR_ROWS 128    /* rows of a task of linear() */
#define PARTIAL_BYTES (64L << 20) /* at most, for sums over parts of the recordings */
#define PARTS 16           /* at most */

static inline long padded(long n) { return (n + VL - 1) / VL * VL; }

/* Memory on a cache line, not set. Scratch is small beside the results, which Python allocates;
   where even that is missing the process ends. */
static inline void *allocate(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64)) {
        fputs("srnn: out of memory in a kernel\n", stderr);
        abort();
    }
    return p;
}

/* How many parts a sum is cut into, `size` numbers each: enough for the threads of most machines,
   not more memory than PARTIAL_BYTES. */
static inline long parts_for(long most, long size) {
    const long fit = PARTIAL_BYTES / (size * (long)sizeof(real));
    const long parts = most < PARTS ? most : PARTS;
    return fit < 1 ? 1 : fit < parts ? fit : parts;
}

/* Bytes of scratch that product() and outer() need for their lists. */
static inline size_t list_room(long K) {
    return (size_t)(MR_MAX * (K + LIST_SLACK)) * (sizeof(int) + sizeof(real));
}
static inline size_t outer_room(long rows, long M) {
    return (size_t)(M * rows + 2 * (M + LIST_SLACK)) * (sizeof(int) + sizeof(real));
}

typedef real vec __attribute__((vector_size(VL * sizeof(real)), aligned(sizeof(real)), may_alias));

static inline vec load(const real *p) { return *(const vec *)p; }
static inline void store(real *p, vec v) { *(vec *)p = v; }

/* Have n numbers brought near while other work goes on. */
static inline void fetch(const real *from, long n) {
    for (long i = 0; i < n; i += 64 / (long)sizeof(real)) __builtin_prefetch(from + i);
}

/* n numbers; rows are short, a call of memcpy for each would cost more than the copy. */
static inline void copy(real *to, const real *from, long n) {
    if (n < VL) {
        for (long i = 0; i < n; i++) to[i] = from[i];
        return;
    }
    for (long i = 0; i < n - VL; i += VL) store(to + i, load(from + i));
    store(to + n - VL, load(from + n - VL));
}

/* n numbers into a padded row, and what stands behind them. */
static inline void spread(real *to, const real *from, long n, long width, real behind) {
    const vec zero = {0};
    store(to + width - VL, zero + behind);
    copy(to, from, n);
}

/* Run task(job, 0 … tasks - 1), each once, on `threads` threads.

   With OpenMP, on torch's own team: after each of its operations its threads wait busily for the
   next, and would be in the way of others. Else on this thread and others that live as long as the
   call. */
#ifdef _OPENMP
static inline void team(void (*task)(void *, long), void *job, long tasks, int threads) {
    if (threads > tasks) threads = (int)tasks;
    if (threads <= 1)
        for (long i = 0; i < tasks; i++) task(job, i);
    else {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (long i = 0; i < tasks; i++) task(job, i);
    }
}
#else
typedef struct {
    void (*task)(void *, long);
    void *job;
    long tasks;
    atomic_long next;
} team_t;

static void *team_member(void *given) {
    team_t *t = given;
    for (long i; (i = atomic_fetch_add(&t->next, 1)) < t->tasks;) t->task(t->job, i);
    return NULL;
}

static inline void team(void (*task)(void *, long), void *job, long tasks, int threads) {
    team_t t = {task, job, tasks, 0};
    pthread_t other[64];
    int started = 0;
    if (threads > 65) threads = 65;
    if (threads > tasks) threads = (int)tasks;
    while (started < threads - 1 && pthread_create(&other[started], NULL, team_member, &t) == 0)
        started++;
    team_member(&t);
    for (int i = 0; i < started; i++) pthread_join(other[i], NULL);
}
#endif

#endif
