/* sum += W x, exact. A row of w holds the weights of one input to all `rows` sums; an input that is
   zero costs nothing. */
static void dense_numbers(int32_t *restrict sum, int32_t rows, const @WEIGHT@ *restrict w,
                          const int16_t *x, int32_t inputs) {
    for (int32_t k = 0; k < inputs; k++, w += stride(rows))
        if (x[k]) add_row(sum, rows, w, x[k]);
}

/* The same for spikes. */
static void dense_spikes(int32_t *restrict sum, int32_t rows, const @WEIGHT@ *restrict w,
                         const uint8_t *x, int32_t inputs) {
    for (int32_t k = 0; k < inputs; k++, w += stride(rows))
        if (x[k]) add_row(sum, rows, w, 1);
}

/* The same for a matrix with few weights: of input k count[k] ones, which go to the sums row[]. */
static void sparse_numbers(int32_t *restrict sum, const INDEX *count, const INDEX *row,
                           const @WEIGHT@ *restrict w, const int16_t *x, int32_t inputs) {
    int32_t at = 0;
    for (int32_t k = 0; k < inputs; at += count[k], k++)
        if (x[k])
            for (int32_t i = at; i < at + count[k]; i++) sum[row[i]] += x[k] * weight(w, i);
}

/* The same for spikes. */
static void sparse_spikes(int32_t *restrict sum, const INDEX *count, const INDEX *row,
                          const @WEIGHT@ *restrict w, const uint8_t *x, int32_t inputs) {
    int32_t at = 0;
    for (int32_t k = 0; k < inputs; at += count[k], k++)
        if (x[k])
            for (int32_t i = at; i < at + count[k]; i++) sum[row[i]] += weight(w, i);
}

/* Values as they enter a product: with fewer bits behind the point, within 16 bits. */
static void narrow(int16_t *to, const int32_t *from, int32_t n, int32_t shift, int32_t limit) {
    for (int32_t i = 0; i < n; i++) {
        const int64_t v = rounded(from[i], shift);
        to[i] = (int16_t)(v > limit ? limit : v < -limit ? -limit : v);
    }
}
