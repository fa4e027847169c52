/* What printed neurons are made of: a loop over neurons in whole vectors, and functions the
   compiler can turn into vector code.

   Compiled with -ffp-contract=off: a step does in C, operation by operation, what it does in
   torch. */

#include "srnn.h"
#include <math.h>

#ifdef DOUBLE
#define LIBM(name) name
typedef int64_t whole;
#define MANTISSA 52
#else
#define LIBM(name) name##f
typedef int32_t whole;
#define MANTISSA 23
#endif
#ifdef __FP_FAST_FMA
#define FMA(a, b, c) LIBM(__builtin_fma)(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

/* NP is a multiple of VL: an inner loop of one vector leaves no remainder. */
#define EACH(n, NP)                            \
    for (long n##_ = 0; n##_ < NP; n##_ += VL) \
        _Pragma("GCC ivdep") for (long n = n##_; n < n##_ + VL; n++)

#include "functions.h"
