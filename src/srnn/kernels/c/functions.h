/* The functions of a printed step, in C99: used by the kernels and by exported networks. Who
   includes this defines real, whole (an integer of its size), MANTISSA, LIBM(name) = the function
   of math.h for that type, and FMA(a, b, c) = a b + c. */

/* x = k ln 2 + r with |r| <= ln 2 / 2: returns exp(r) - 1 by its series (relative error below one
   rounding), and k. */
static inline real reduced_expm1(real x, real *k) {
#ifdef DOUBLE
    static const real ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
#else
    static const real ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
#endif
    *k = LIBM(rint)(x * (real)1.4426950408889634);
    const real r = (x - *k * ln2_hi) - *k * ln2_lo;
#ifdef DOUBLE
    real p = (real)(1.0 / 6227020800.0);
    p = FMA(p, r, (real)(1.0 / 479001600.0));
    p = FMA(p, r, (real)(1.0 / 39916800.0));
    p = FMA(p, r, (real)(1.0 / 3628800.0));
    p = FMA(p, r, (real)(1.0 / 362880.0));
    p = FMA(p, r, (real)(1.0 / 40320.0));
    p = FMA(p, r, (real)(1.0 / 5040.0));
#else
    real p = (real)(1.0 / 5040.0);
#endif
    p = FMA(p, r, (real)(1.0 / 720.0));
    p = FMA(p, r, (real)(1.0 / 120.0));
    p = FMA(p, r, (real)(1.0 / 24.0));
    p = FMA(p, r, (real)(1.0 / 6.0));
    p = FMA(p, r, (real)0.5);
    return FMA(r * r, p, r);
}

/* a 2^k for a normal result: k added to the exponent's bits. */
static inline real scaled(real a, real k) {
    union { real number; whole bits; } v = {a};
    v.bits += (whole)k * ((whole)1 << MANTISSA);
    return v.number;
}

#ifdef DOUBLE
#define EXP_LOW ((real)-708.0)
#define EXP_HIGH ((real)709.78)
#define EXPM1_HIGH ((real)709.0)
#else
#define EXP_LOW ((real)-87.0)
#define EXP_HIGH ((real)88.72)
#define EXPM1_HIGH ((real)88.0)
#endif

/* Below EXP_LOW 0, above EXP_HIGH infinity, NaN stays NaN. expm1 gives infinity a little
   earlier. */
static inline real exp_real(real x) {
    const real y = x < EXP_LOW ? EXP_LOW : x > EXP_HIGH ? EXP_HIGH : x;
    real k;
    const real p = reduced_expm1(y, &k), e = scaled(1 + p, k);
    return x < EXP_LOW ? 0 : x > EXP_HIGH ? INFINITY : e;
}

static inline real expm1_real(real x) {
    const real y = x < -40 ? -40 : x > EXPM1_HIGH ? EXPM1_HIGH : x;
    real k;
    const real p = reduced_expm1(y, &k), two = scaled(1, k), e = FMA(two, p, two - 1);
    return x > EXPM1_HIGH ? INFINITY : e;
}

static inline real tanh_real(real x) {
    const real y = x > 20 ? 20 : x < -20 ? -20 : x;
    const real e = expm1_real(2 * (y < 0 ? -y : y)), t = e / (e + 2);
    return y < 0 ? -t : t;
}

static inline real sigmoid_real(real x) { return 1 / (1 + exp_real(-x)); }
static inline real abs_real(real x) { return LIBM(fabs)(x); }
static inline real log_real(real x) { return LIBM(log)(x); }
static inline real log1p_real(real x) { return LIBM(log1p)(x); }
static inline real erf_real(real x) { return LIBM(erf)(x); }
static inline real sin_real(real x) { return LIBM(sin)(x); }
static inline real cos_real(real x) { return LIBM(cos)(x); }
static inline real sqrt_real(real x) { return LIBM(sqrt)(x); }
static inline real pow_real(real x, real y) { return LIBM(pow)(x, y); }
