/* A number of 4 bits, in two's complement. */
static int32_t signed4(int32_t v) { return (v ^ 8) - 8; }

/* Weight i of a table: two in a byte, the first one in the low half. */
static int32_t weight(const uint8_t *restrict w, int32_t i) {
    return signed4(w[i >> 1] >> ((i & 1) << 2) & 15);
}

/* How many bytes a row of weights takes. */
static int32_t stride(int32_t rows) { return (rows + 1) >> 1; }

/* sum += x times a row of weights. */
static void add_row(int32_t *restrict sum, int32_t rows, const uint8_t *restrict w, int32_t x) {
    for (int32_t i = 0; i < rows - 1; i += 2, w++) {
        const int32_t pair = *w;
        sum[i] += x * signed4(pair & 15);
        sum[i + 1] += x * signed4(pair >> 4);
    }
    if (rows & 1) sum[rows - 1] += x * signed4(*w & 15);
}
