/* Integer arithmetic of an exported network: a number is an int32_t, v 2^F. The same as
   kernels/fixed_ops.py, bit for bit, where its errors are listed.

   Shifting a negative number to the right must keep its sign, as every compiler in use does; this
   line does not compile elsewhere. */
typedef char shifts_keep_the_sign[(-1 >> 1) == -1 ? 1 : -1];

/* The end of the range in place of an overflow. */
static inline int32_t saturated(int64_t v) {
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
}

/* v 2^-shift, half up. */
static inline int64_t rounded(int64_t v, int32_t shift) {
    return shift == 0 ? v : (v + ((int64_t)1 << (shift - 1))) >> shift;
}

#define ONE_Q30 ((int64_t)1 << 30)

/* exp(x) 2^to for x 2^-fraction: 2^k by shifting, the rest, within half a power of two, by a Taylor
   polynomial of degree 7. */
static int32_t exp_to(int32_t x, int32_t fraction, int32_t to) {
    static const int32_t taylor[8] = {@EXP@};
    const int64_t t = (int64_t)x * @LOG2_E@;
    const int32_t k = (int32_t)rounded(t, fraction + 30), shift = 30 - to - k;
    const int64_t r = (t - k * ((int64_t)1 << (fraction + 30))) >> fraction;
    const int64_t u = rounded(r * @LN_2@, 30);
    int64_t p = taylor[0];
    for (int i = 1; i < 8; i++) p = taylor[i] + rounded(p * u, 30);
    return shift > 40    ? 0
           : shift > 0   ? saturated(rounded(p, shift))
           : shift < -31 ? INT32_MAX
                         : saturated(p * ((int64_t)1 << -shift));
}

static int32_t exp_fixed(int32_t x, int32_t fraction) { return exp_to(x, fraction, fraction); }

/* exp(-n |x|) in Q30. */
static int64_t exp_of_minus(int32_t x, int32_t n, int32_t fraction) {
    return exp_to(-saturated(n * (x < 0 ? -(int64_t)x : (int64_t)x)), fraction, 30);
}

static int32_t sigmoid_fixed(int32_t x, int32_t fraction) {
    const int64_t high = ((int64_t)1 << 60) / (ONE_Q30 + exp_of_minus(x, 1, fraction));
    return (int32_t)rounded(x < 0 ? ONE_Q30 - high : high, 30 - fraction);
}

static int32_t tanh_fixed(int32_t x, int32_t fraction) {
    const int64_t e = exp_of_minus(x, 2, fraction);
    const int32_t size = (int32_t)rounded((ONE_Q30 - e) * ONE_Q30 / (ONE_Q30 + e), 30 - fraction);
    return x < 0 ? -size : size;
}

/* 2 atanh(a / b) in Q30 for 0 <= a / b <= 1/3, by its series. */
static int64_t atanh_twice(int64_t a, int64_t b) {
    static const int32_t series[7] = {@ATANH@};
    const int64_t y = a * ONE_Q30 / b, square = rounded(y * y, 30);
    int64_t p = series[0];
    for (int i = 1; i < 7; i++) p = series[i] + rounded(p * square, 30);
    return rounded(y * p, 29);
}

static int32_t log_fixed(int32_t x, int32_t fraction) {
    if (x <= 0) return (int32_t)rounded(-(fraction + 1) * (int64_t)@LN_2@, 30 - fraction);
    int32_t k = 0;
    while (k < 30 && x >= (int32_t)1 << (k + 1)) k++;
    const int64_t m = (int64_t)x * ((int64_t)1 << (30 - k));
    return (int32_t)rounded(
        (k - fraction) * (int64_t)@LN_2@ + atanh_twice(m - ONE_Q30, m + ONE_Q30), 30 - fraction);
}

static int32_t softplus_fixed(int32_t x, int32_t fraction) {
    const int64_t e = exp_of_minus(x, 1, fraction);
    return saturated((x > 0 ? x : 0) + rounded(atanh_twice(e, e + 2 * ONE_Q30), 30 - fraction));
}

static int32_t sqrt_fixed(int32_t x, int32_t fraction) {
    const int64_t v = (x > 0 ? x : 0) * ((int64_t)1 << fraction);
    int64_t root = 0;
    for (int bit = 30; bit >= 0; bit--) {
        const int64_t more = root + ((int64_t)1 << bit);
        if (more * more <= v) root = more;
    }
    return (int32_t)root;
}

static int32_t div_fixed(int32_t a, int32_t b, int32_t fraction) {
    if (b == 0) return a > 0 ? INT32_MAX : a < 0 ? INT32_MIN : 0;
    return saturated(a * ((int64_t)1 << fraction) / b);
}
