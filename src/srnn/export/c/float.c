/* I += W x. A row of w holds the weights of one input to all `rows` sums; an input that is zero
   costs nothing. */
static void dense_numbers(real *restrict sum, int32_t rows, const real *restrict w, const real *x,
                          int32_t inputs) {
    for (int32_t k = 0; k < inputs; k++, w += rows)
        if (x[k] < 0 || x[k] > 0)
            for (int32_t i = 0; i < rows; i++) sum[i] = FMA(x[k], w[i], sum[i]);
}

/* The same for spikes. */
static void dense_spikes(real *restrict sum, int32_t rows, const real *restrict w, const uint8_t *x,
                         int32_t inputs) {
    for (int32_t k = 0; k < inputs; k++, w += rows)
        if (x[k])
            for (int32_t i = 0; i < rows; i++) sum[i] += w[i];
}

/* The same for a matrix with few weights: of input k count[k] ones, which go to the sums row[]. */
static void sparse_numbers(real *restrict sum, const INDEX *count, const INDEX *row,
                           const real *restrict w, const real *x, int32_t inputs) {
    for (int32_t k = 0; k < inputs; row += count[k], w += count[k], k++)
        if (x[k] < 0 || x[k] > 0)
            for (int32_t i = 0; i < count[k]; i++) sum[row[i]] = FMA(x[k], w[i], sum[row[i]]);
}

/* The same for spikes. */
static void sparse_spikes(real *restrict sum, const INDEX *count, const INDEX *row,
                          const real *restrict w, const uint8_t *x, int32_t inputs) {
    for (int32_t k = 0; k < inputs; row += count[k], w += count[k], k++)
        if (x[k])
            for (int32_t i = 0; i < count[k]; i++) sum[row[i]] += w[i];
}

/* Layer norm over the sums of a step. */
static void layer_norm(real *restrict sum, int32_t rows, const real *gain, const real *shift,
                       real eps) {
    real mean = 0, variance = 0;
    for (int32_t i = 0; i < rows; i++) mean += sum[i];
    mean /= (real)rows;
    for (int32_t i = 0; i < rows; i++) variance += (sum[i] - mean) * (sum[i] - mean);
    const real scale = 1 / LIBM(sqrt)(variance / (real)rows + eps);
    for (int32_t i = 0; i < rows; i++) sum[i] = (sum[i] - mean) * scale * gain[i] + shift[i];
}
