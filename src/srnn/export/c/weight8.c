/* Weight i of a table. */
static int32_t weight(const int8_t *restrict w, int32_t i) { return w[i]; }

/* How many entries of the table a row of weights takes. */
static int32_t stride(int32_t rows) { return rows; }

/* sum += x times a row of weights. */
static void add_row(int32_t *restrict sum, int32_t rows, const int8_t *restrict w, int32_t x) {
    for (int32_t i = 0; i < rows; i++) sum[i] += x * w[i];
}
